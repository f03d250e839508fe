"""Time of a real run by part: within an epoch, and around the epochs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import report
from benchmarks.real_run import run_training
from benchmarks.timing import interleave

PARTS = ("train_seconds", "evolve_seconds", "sync_seconds", "evaluate_seconds")
LAYOUTS = {
    "1 rank x 1 thread": (1, 1),
    "1 rank x 2 threads": (1, 2),
    "2 ranks x 1 thread": (2, 1),
    "4 ranks x 1 thread": (4, 1),
}


def measure_epochs(n_rounds: int, n_epochs: int, *, as_json: bool) -> None:
    """Print the parts of an epoch and the time around the epochs, with a warm and with an empty kernel cache."""
    runs: dict[str, list[object]] = {name: [] for name in LAYOUTS}
    for _ in range(n_rounds):
        for name, layout in LAYOUTS.items():
            runs[name].append(run_training(layout[0], run_settings(layout[1], n_epochs)))
    with tempfile.TemporaryDirectory() as cache:
        cold = run_training(1, run_settings(2, 1), Path(cache)).first_step_seconds
    rows: list[dict[str, object]] = []
    for name, finished in runs.items():
        epochs = [epoch for run in finished for epoch in run.epochs[1:]]  # type: ignore[attr-defined]
        row: dict[str, object] = {"layout": name}
        row.update({f"{part.removesuffix('_seconds')}, s": median(epoch[part] for epoch in epochs) for part in PARTS})
        row["evolve, % of train"] = 100 * float(row["evolve, s"]) / float(row["train, s"])  # type: ignore[arg-type]
        row["first step after, s"] = median(run.first_step_seconds for run in finished)  # type: ignore[attr-defined]
        row["around the epochs, s"] = median(run.other_seconds for run in finished)  # type: ignore[attr-defined]
        rows.append(row)
    imported = interleave(
        {"import": lambda: subprocess.run([sys.executable, "-c", "import hpc_sparse"], check=True)}, 5
    )
    bare = interleave({"python": lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)}, 5)
    notes = [
        f"{n_rounds} rounds of {n_epochs} epochs, interleaved; first epochs left out",
        "around the epochs: start, imports, loading, kernels from the cache, checkpoint, leaving;",
        f"first step with an empty kernel cache (1 rank x 2 threads): after {cold:.1f} s",
        f"import hpc_sparse: {imported['import'].median - bare['python'].median:.3f} s beyond Python's own start",
    ]
    report.show("Fashion-MNIST net (jobs/fashion_mnist.toml)", rows, notes, as_json=as_json)


def run_settings(n_threads: int, n_epochs: int) -> tuple[str, ...]:
    """Settings of the measured run."""
    return (f"training.epochs={n_epochs}", f"runtime.threads={n_threads}", "runtime.oversubscribe=true")
