"""Real runs of ``hpc-sparse train`` on one machine, with the cores used as ranks or as threads."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks import report
from benchmarks.real_run import run_training
from benchmarks.timing import Timing

N_SAMPLES = 60_000


@dataclass(frozen=True)
class Layout:
    """Ranks and threads of a run."""

    name: str
    n_ranks: int
    n_threads: int
    settings: tuple[str, ...] = ()


LAYOUTS = (
    Layout("1 rank x 1 thread", 1, 1),
    Layout("1 rank x 2 threads", 1, 2),
    Layout("2 ranks x 1 thread, sync per epoch", 2, 1),
    Layout("2 ranks x 1 thread, sync every 50 steps", 2, 1, ("parallel.sync_every_steps=50",)),
    Layout(
        "2 ranks x 1 thread, sync every 50 steps, overlapped",
        2,
        1,
        ("parallel.sync_every_steps=50", "parallel.overlap=true"),
    ),
    Layout("2 ranks x 1 thread, sync every step", 2, 1, ("parallel.sync_every_steps=1",)),
    Layout(
        "2 ranks x 1 thread, sync every step, overlapped",
        2,
        1,
        ("parallel.sync_every_steps=1", "parallel.overlap=true"),
    ),
    Layout("2 ranks x 1 thread, independent topologies", 2, 1, ("parallel.replica_topology=independent",)),
    Layout("4 ranks x 1 thread (oversubscribed)", 4, 1, ("runtime.oversubscribe=true",)),
)


def compare_layouts(n_rounds: int, n_epochs: int, *, as_json: bool) -> None:
    """Print samples per second of each layout, syncs included, and what it is against one thread."""
    seconds: dict[str, list[float]] = {layout.name: [] for layout in LAYOUTS}
    sync_shares: dict[str, list[float]] = {layout.name: [] for layout in LAYOUTS}
    for _ in range(n_rounds):
        for layout in LAYOUTS:
            epochs = _run(layout, n_epochs)
            seconds[layout.name] += [epoch["train_seconds"] + epoch["sync_seconds"] for epoch in epochs[1:]]
            sync_shares[layout.name] += [epoch["sync_seconds"] for epoch in epochs[1:]]
    alone = median(seconds[LAYOUTS[0].name])
    rows: list[dict[str, object]] = []
    for layout in LAYOUTS:
        timing = Timing.of(seconds[layout.name])
        rows.append(
            {
                "layout": layout.name,
                "s per epoch": timing.median,
                "least": timing.fastest,
                "most": timing.slowest,
                "of that sync": median(sync_shares[layout.name]),
                "samples/s": N_SAMPLES / timing.median,
                "times one thread": alone / timing.median,
            }
        )
    notes = [
        f"{n_rounds} rounds of {n_epochs} epochs, interleaved; training and syncs, without evaluation; epoch 1 left out"
    ]
    report.show("Fashion-MNIST net (jobs/fashion_mnist.toml), batch 128 per rank", rows, notes, as_json=as_json)


def _run(layout: Layout, n_epochs: int) -> list[dict[str, float]]:
    overrides = (f"training.epochs={n_epochs}", f"runtime.threads={layout.n_threads}", *layout.settings)
    return run_training(layout.n_ranks, overrides).epochs
