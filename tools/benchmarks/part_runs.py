"""Memory and time of real runs of one network: held by several ranks together, and whole on one with their cores."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import report
from hpc_sparse.config import load_config
from hpc_sparse.storage.dataset.samples import CsrFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

ROOT = Path(__file__).resolve().parents[2]
N_FEATURES, N_STORED, N_CLASSES = 65_536, 100, 20
N_STEPS, N_EPOCHS = 8, 3
WATCH_SECONDS = 0.05
SMALL = 100
"""Width of the hidden layers of the network whose memory is that of the program."""


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes
    ----------
    node_bytes : int
        Most memory of all ranks together, what they share counted once.
    peak_bytes : int
        Most memory that any rank has seen, that of others which it reads included.
    step_seconds, evolve_seconds : float
        Medians over the epochs.
    """

    node_bytes: int
    peak_bytes: int
    step_seconds: float
    evolve_seconds: float


def compare_runs(job: Path, overrides: Sequence[str], n_parts: int, n_rounds: int, *, as_json: bool) -> None:
    """Print memory and seconds of a job's network in parts of one thread, and whole with as many threads.

    Runs take turns. Samples are made, as sparse and as many-featured as texts; steps are few. Memory of a rank is its
    share of the most that all ever took together, beyond what the same command takes for a network of narrow layers.
    """
    layouts = {f"{n_parts} ranks, one network": (n_parts, 1), f"1 rank, {n_parts} threads": (1, n_parts)}
    found: dict[str, list[Measured]] = {name: [] for name in layouts}
    config = load_config(job, list(overrides))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_samples(folder / "samples.h5", N_STEPS * config.training.batch_size)
        small = [*overrides, f"network.hidden={[SMALL] * len(config.network.hidden)}"]
        for layout in layouts.values():  # kernels are compiled once
            _run(job, small, *layout, folder)
        programs = {name: _run(job, small, *layout, folder) for name, layout in layouts.items()}
        for _ in range(n_rounds):
            for name, layout in layouts.items():
                found[name].append(_run(job, overrides, *layout, folder))
    peaks = {
        name: (max(run.node_bytes for run in runs) - programs[name].node_bytes) / layouts[name][0]
        for name, runs in found.items()
    }
    steps = {name: median(run.step_seconds for run in runs) for name, runs in found.items()}
    whole = list(layouts)[-1]
    rows: list[dict[str, object]] = [
        {
            "layout": name,
            "MB of a rank": peaks[name] / 1e6,
            "of whole": peaks[name] / peaks[whole],
            "s per step": steps[name],
            "times whole": steps[name] / steps[whole],
            "s per change": median(run.evolve_seconds for run in runs),
            "MB of the program": programs[name].node_bytes / layouts[name][0] / 1e6,
            "MB seen by a rank": max(run.peak_bytes for run in runs) / 1e6,
        }
        for name, runs in found.items()
    ]
    report.show(f"{job.name} {' '.join(overrides)}, {n_rounds} runs each", rows, [], as_json=as_json)


def _run(job: Path, overrides: Sequence[str], n_ranks: int, n_threads: int, folder: Path) -> Measured:
    """Train a few steps by the real command."""
    settings = [
        f"data.path={folder}/samples.h5",
        f"training.epochs={N_EPOCHS}",
        f"runtime.threads={n_threads}",
        f"parallel.model={n_ranks}",
        *overrides,
    ]
    command = [f"{ROOT}/.venv/bin/hpc-sparse" if (ROOT / ".venv").is_dir() else "hpc-sparse", "train", str(job)]
    command += [word for setting in settings for word in ("--set", setting)]
    shutil.rmtree(folder / "run", ignore_errors=True)
    command += ["--output", f"{folder}/run", "--progress", "none"]
    start = ["bash", "-c", f'. jobs/openmpi.sh && exec mpirun -n {n_ranks} "$@"', "bash", *command]
    process = subprocess.Popen(start, cwd=ROOT, stdout=sys.stderr)
    node_bytes = 0
    while process.poll() is None:
        node_bytes = max(node_bytes, sum(_proportional_bytes(child) for child in _descendants(process.pid)))
        time.sleep(WATCH_SECONDS)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, start)
    summary = json.loads((folder / "run" / "summary.json").read_text())
    epochs = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return Measured(
        node_bytes,
        summary["peak_rss_bytes"],
        median(epoch["train_seconds"] for epoch in epochs) / N_STEPS,
        median(epoch["evolve_seconds"] for epoch in epochs[:-1]),
    )


def _descendants(parent: int) -> Iterator[int]:
    """The Python processes below a process."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        with suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text().startswith(("python", "hpc-sparse")):
                yield child
        yield from _descendants(child)


def _proportional_bytes(process: int) -> int:
    """Memory of a process that holds no files, what it shares with others divided among them."""
    n_bytes = 0
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                n_bytes += int(line.split()[1]) * 1024
    return n_bytes


def _write_samples(path: Path, n_samples: int) -> None:
    """Made samples with random features."""
    rng = np.random.default_rng(0)

    def samples(n: int) -> Samples:
        indices = np.array([np.sort(rng.choice(N_FEATURES, N_STORED, replace=False)) for _ in range(n)], np.int32)
        indptr = np.arange(n + 1, dtype=np.int64) * N_STORED
        values = rng.random(n * N_STORED, np.float32)
        features = CsrFeatures(indptr, indices.reshape(-1), values, N_FEATURES)
        return Samples(features, rng.integers(0, N_CLASSES, n).astype(np.int32))

    names = [str(number) for number in range(N_CLASSES)]
    write_dataset(path, samples(n_samples), samples(N_CLASSES), title="random samples", class_names=names)
