"""The same configuration, ranks and threads give the same run, bit by bit."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest

from hpc_sparse.monitor.metrics import CLOCK_FIELDS


def metrics(folder: Path) -> list[dict[str, float]]:
    """The epochs of a run, times aside."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK_FIELDS} for line in lines]


def arrays(checkpoint: Path) -> dict[str, bytes]:
    """Every array below ``layers`` of a checkpoint."""
    found = {}
    with h5py.File(checkpoint, "r") as file:
        file["layers"].visititems(
            lambda name, item: found.update({name: item[:].tobytes()}) if isinstance(item, h5py.Dataset) else None
        )
    assert len(found) == 3 * 6
    return found


@pytest.mark.parametrize("topology", ["shared", "independent"])
@pytest.mark.parametrize("ranks", [None, 2])
def test_two_runs_are_equal_bit_by_bit(workplace, run, ranks, topology):
    for name in ("a", "b"):
        run(
            *("train", "run.toml", "--output", name, "--set", "training.epochs=3"),
            *("--set", f"parallel.replica_topology={topology}", "--set", "parallel.sync_every_steps=4"),
            cwd=workplace,
            ranks=ranks,
        )
    assert metrics(workplace / "a") == metrics(workplace / "b")
    first, second = (arrays(workplace / name / "checkpoints/checkpoint-000003.h5") for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize("batch_size", [50, 100])
def test_the_number_of_threads_does_not_change_a_bit(workplace, run, batch_size):
    # Batches of one tile where registers are wide, and of several.
    for threads in (1, 2):
        run(
            *("train", "run.toml", "--output", f"{threads}", "--set", f"runtime.threads={threads}"),
            *("--set", "network.hidden=[301, 150]", "--set", f"training.batch_size={batch_size}"),
            cwd=workplace,
            # Two threads also where there is one core.
            NUMBA_NUM_THREADS="2",
        )
    assert metrics(workplace / "1") == metrics(workplace / "2")
    assert arrays(workplace / "1/checkpoints/checkpoint-000002.h5") == arrays(
        workplace / "2/checkpoints/checkpoint-000002.h5"
    )


def test_another_seed_is_another_run(workplace, run):
    for seed in (0, 1):
        run("train", "run.toml", "--output", f"{seed}", "--set", f"training.seed={seed}", cwd=workplace)
    first, second = (arrays(workplace / name / "checkpoints/checkpoint-000002.h5") for name in ("0", "1"))
    assert first["0/connections/input/indices"] != second["0/connections/input/indices"]
    assert first["2/parameters/weight"] != second["2/parameters/weight"]
