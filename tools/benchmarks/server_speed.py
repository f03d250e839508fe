"""The server of WASAP-SGD and WASSP-SGD: real runs, and its limit when workers need no time at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks import report
from benchmarks.real_run import ROOT, run_training
from benchmarks.timing import Timing

CONFIG = ROOT / "jobs" / "fashion_mnist.toml"
N_SAMPLES = 60_000
RUNS = (
    ("sequential, 1 thread", 1, ("runtime.threads=1",)),
    ("sequential, 2 threads", 1, ("runtime.threads=2",)),
    ("local SGD, 2 ranks", 2, ()),
    *((f"WASAP, {n} + 1 ranks", n + 1, ("parallel.algorithm=wasap",)) for n in (1, 2, 3, 4)),
    ("WASAP, 2 + 1 ranks, overlapped", 3, ("parallel.algorithm=wasap", "parallel.overlap=true")),
    *((f"WASSP, {n} + 1 ranks", n + 1, ("parallel.algorithm=wassp",)) for n in (1, 2, 4)),
)


def measure_server(n_rounds: int, n_epochs: int, *, as_json: bool) -> None:
    """Print speed, waiting and staleness of real runs, then the server's own limit."""
    epochs: dict[str, list[dict[str, float]]] = {name: [] for name, _, _ in RUNS}
    for _ in range(n_rounds):
        for name, n_ranks, settings in RUNS:
            overrides = (f"training.epochs={n_epochs}", "runtime.oversubscribe=true", *settings)
            if "parallel.algorithm" in " ".join(settings):
                overrides += ("parallel.phase2_share=0",)
            # The first epoch's times include the last of the loading.
            epochs[name] += run_training(n_ranks, overrides).epochs[1:]
    rows = [_row(name, measured) for name, measured in epochs.items()]
    notes = [
        f"{n_rounds} rounds of {n_epochs} epochs, interleaved; epoch 1 left out; no phase 2",
        "waiting: share of the workers' time; staleness: updates since the weights that a gradient was computed with",
    ]
    report.show("Fashion-MNIST net (jobs/fashion_mnist.toml), batch 128", rows, notes, as_json=as_json)
    limits = [_limit(n_workers) for n_workers in (1, 2, 4)]
    notes = ["workers send one and the same gradient again and again, so all that takes time is the exchange"]
    report.show("What the server sustains", limits, notes, as_json=as_json)


def _row(name: str, epochs: list[dict[str, float]]) -> dict[str, object]:
    is_served = any(epoch["staleness_counts"] for epoch in epochs)
    seconds = Timing.of([epoch["train_seconds"] + (0.0 if is_served else epoch["sync_seconds"]) for epoch in epochs])
    counts = [sum(column) for column in _columns([epoch["staleness_counts"] for epoch in epochs])]
    mean = sum(number * count for number, count in enumerate(counts)) / max(1, sum(counts))
    return {
        "run": name,
        "s per epoch": seconds.median,
        "least": seconds.fastest,
        "most": seconds.slowest,
        "samples/s": N_SAMPLES / seconds.median,
        "waiting": median(epoch["wait_share"] for epoch in epochs),
        "mean staleness": mean,
        "most stale": max((number for number, count in enumerate(counts) if count), default=0),
    }


def _columns(lists: list[list[int]]) -> list[list[int]]:
    width = max(map(len, lists))
    return [[counts[number] if number < len(counts) else 0 for counts in lists] for number in range(width)]


def _limit(n_workers: int) -> dict[str, object]:
    command = [sys.executable, str(Path(__file__).with_name("server_limit.py")), str(CONFIG)]
    shell = f'. jobs/openmpi.sh && exec mpirun -n {n_workers + 1} "$@"'
    finished = subprocess.run(
        ["bash", "-c", shell, "bash", *command], cwd=ROOT, check=True, capture_output=True, text=True
    )
    result: dict[str, object] = json.loads(finished.stdout.splitlines()[-1])
    return {"workers": n_workers, **result}
