"""WASAP-SGD and WASSP-SGD by command: a server and two workers, killed in either phase and taken up again."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import h5py
import pytest

from hpc_sparse.monitor.metrics import CLOCK_FIELDS

RANKS = 3
N_UPDATES = {"wasap": 331 // 16, "wassp": 331 // (16 * 2) * 2}


def metrics(folder: Path) -> list[dict[str, object]]:
    """The epochs of a run, times aside."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK_FIELDS} for line in lines]


def arrays(checkpoint: Path) -> dict[str, bytes]:
    """Every array of a checkpoint's layers, its own networks' too."""
    found = {}
    with h5py.File(checkpoint, "r") as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[:].tobytes()})
                if isinstance(item, h5py.Dataset) and name.startswith("layers/")
                else None
            )
        )
    assert len(found) >= 3 * 6
    return found


def newest(folder: Path) -> Path | None:
    return max((folder / "checkpoints").glob("checkpoint-*.h5"), default=None)


@pytest.mark.parametrize("strategy", ["wasap", "wassp"])
def test_a_served_run_learns_is_evaluated_and_described(workplace, run, strategy):
    options = ("--set", f"parallel.algorithm={strategy}", "--set", "training.epochs=4")
    phase2 = ("--set", "parallel.phase2_share=0.5", "--set", "checkpoint.keep_last=9")
    result = run("train", "run.toml", *options, *phase2, "--output", "run", cwd=workplace, ranks=RANKS)
    lines = metrics(workplace / "run")
    assert [line["phase"] for line in lines] == [1, 1, 2, 2]
    assert [sum(line["staleness_counts"]) for line in lines] == [N_UPDATES[strategy]] * 2 + [0, 0]
    assert "test accuracy of the workers' networks: " in result.stderr
    assert json.loads((workplace / "run/summary.json").read_text())["test_accuracy"] == lines[-1]["test_accuracy"]
    # The last one holds the network that was tested last; the one before, two networks.
    last = workplace / "run/checkpoints/checkpoint-000004.h5"
    evaluated = json.loads(run("evaluate", last, "data.h5", "--json", cwd=workplace).stdout)
    assert evaluated["test_accuracy"] == pytest.approx(lines[-1]["test_accuracy"])
    before = workplace / "run/checkpoints/checkpoint-000003.h5"
    alone, together = (
        json.loads(run("evaluate", before, "data.h5", "--json", cwd=workplace, ranks=ranks).stdout)
        for ranks in (None, 2)
    )
    assert alone["test_accuracy"] == together["test_accuracy"] > 0.4


@pytest.mark.parametrize("phase", [1, 2])
def test_a_killed_run_goes_on_from_its_last_checkpoint_in_either_phase(workplace, launch, run, kill_job, phase):
    n_epochs = 100_000
    share = {1: 0.0, 2: 0.99998}[phase]
    settings = ("--set", "parallel.algorithm=wassp", "--set", f"parallel.phase2_share={share}")
    start = ("train", "run.toml", *settings, "--output", "run", "--resume", "auto")
    process = launch(*start, "--set", f"training.epochs={n_epochs}", cwd=workplace, ranks=RANKS)
    deadline = time.monotonic() + 60
    while (path := newest(workplace / "run")) is None or path.name < "checkpoint-000004.h5":
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kill_job(process)
    killed = newest(workplace / "run")
    assert killed is not None
    n_done = int(killed.stem.removeprefix("checkpoint-"))
    with h5py.File(killed, "r") as file:
        assert file["run"].attrs["n_replicas"] == {1: 0, 2: 2}[phase]
    # Two epochs more by the same plan, from what was left and from the start.
    total = n_done + 2
    share = {1: 0.0, 2: 1 - 2.4 / total}[phase]
    rest = ("--set", f"training.epochs={total}", "--set", f"parallel.phase2_share={share}")
    run(*start, *rest, cwd=workplace, ranks=RANKS)
    run("train", "run.toml", *settings, *rest, "--output", "whole", cwd=workplace, ranks=RANKS)
    assert [line["phase"] for line in metrics(workplace / "run")] == [1] * 2 + [phase] * (total - 2)
    assert metrics(workplace / "run") == metrics(workplace / "whole")
    last = f"checkpoints/checkpoint-{total:06d}.h5"
    assert arrays(workplace / "run" / last) == arrays(workplace / "whole" / last)
    assert not list((workplace / "run").rglob("*.partial"))


def test_a_phase_2_checkpoint_is_enough_to_go_on_alone(workplace, run):
    settings = ("--set", "parallel.algorithm=wasap", "--set", "parallel.phase2_share=0.6")
    four = ("--set", "training.epochs=4", "--set", "checkpoint.keep_last=9")
    run("train", "run.toml", *settings, *four, "--output", "run", cwd=workplace, ranks=RANKS)
    shutil.copy(workplace / "run/checkpoints/checkpoint-000003.h5", workplace / "kept.h5")
    result = run("train", "run.toml", *settings, *four, "--resume", "kept.h5", "--output", "alone", cwd=workplace)
    assert "wasap on one rank: there are no workers, so this is sequential training" in result.stderr
    assert [line["epoch"] for line in metrics(workplace / "alone")] == [4]
    sizes = [
        [array for name, array in sorted(arrays(workplace / path).items()) if name.endswith("indptr")]
        for path in ("run/checkpoints/checkpoint-000004.h5", "alone/checkpoints/checkpoint-000004.h5")
    ]
    assert [rows[-8:] for rows in sizes[0]] == [rows[-8:] for rows in sizes[1]]


def test_fewer_samples_than_workers_end_the_job_with_one_message(workplace, run, write_small_data):
    write_small_data(workplace / "tiny.h5", n_train=2)
    result = run(
        *("train", "run.toml", "--set", "parallel.algorithm=wasap", "--set", "data.path=tiny.h5", "--output", "run"),
        cwd=workplace,
        ranks=4,
        code=2,
    )
    assert "tiny.h5: 2 training samples for 3 workers: expected at least one for each" in result.stderr
    assert result.stderr.count("training samples") == 1
    assert not (workplace / "run").exists()
