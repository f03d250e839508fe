"""Seconds of training until the test accuracy of Fashion-MNIST reaches a goal, for every peer that predicts."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import numpy as np

from benchmarks import peers, report, workload
from benchmarks.real_run import run_training
from benchmarks.timing import measure

GOALS = (0.88, 0.90)
"""Test accuracies."""

OURS, OURS_EVOLVING = "ours", "ours, evolving"


@dataclass
class Curve:
    """Test accuracy after each epoch of one peer.

    Attributes
    ----------
    trained, evolved : list of float
        Seconds of each epoch in training steps, and in the change of topology after it.
    accuracies : list of float
    """

    trained: list[float] = field(default_factory=list)
    evolved: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds of all epochs."""
        return sum(self.trained) + sum(self.evolved)

    def is_done(self, limit: float) -> bool:
        """Whether the highest goal is reached, or the time is up."""
        return self.seconds >= limit or max(self.accuracies, default=0.0) >= max(GOALS)

    def row(self, name: str) -> dict[str, object]:
        """What the table says of it."""
        row: dict[str, object] = {
            "peer": name,
            "s per epoch": mean(self.trained),
            "evolution, s": mean(self.evolved) if any(self.evolved) else "none",
        }
        for goal in GOALS:
            reached = next((epoch for epoch, own in enumerate(self.accuracies) if own >= goal), None)
            seconds = "not reached"
            if reached is not None:
                total = sum(self.trained[: reached + 1]) + sum(self.evolved[:reached])
                seconds = f"{total:.1f} ({reached + 1} epochs)"
            row[f"s to {goal:.0%}"] = seconds
        row["last accuracy"] = f"{self.accuracies[-1]:.2%} after {len(self.accuracies)} epochs, {self.seconds:.0f} s"
        return row


def measure_accuracy(
    dataset: Path, n_threads: int, limit: float, n_epochs: int, names: tuple[str, ...], *, as_json: bool
) -> None:
    """Print how long each peer trains until the goals; ``limit`` seconds at most, our own runs ``n_epochs``."""
    rows, notes = [], ["left out: nerva (a program that starts anew each time)"]
    for name in sorted(set(names) - {"nerva"}, key=lambda name: (name == OURS, names.index(name))):
        try:
            curve = _train_peer(name, dataset, n_threads, limit)
        except ImportError as error:
            notes.append(f"left out: {name} ({error})")
            continue
        curves = {name: curve}
        if name == OURS:
            curves[OURS_EVOLVING] = _train_real(n_threads, n_epochs)
        for each, own in curves.items():
            rows.append(own.row(each))
            print(rows[-1], file=sys.stderr, flush=True)  # for those who wait, or interrupt it
    notes += [
        "one seed; test accuracy after each epoch; evaluation and the first three steps are not counted",
        "the same learning rate, momentum, dropout and batches of 128",
        f'"{OURS_EVOLVING}" is a run of jobs/fashion_mnist.toml by SET; authors evolve by SET; others never',
        f"up to {limit:g} s of training each, {n_epochs} epochs of {OURS_EVOLVING!r}",
    ]
    report.show(f"{workload.FASHION_MNIST[0]}, {n_threads} threads", rows, notes, as_json=as_json)


def _train_peer(name: str, dataset: Path, n_threads: int, limit: float) -> Curve:
    task, features, labels = workload.real_fashion_mnist(dataset)
    trainer, rng, curve = peers.load(name)(task, n_threads), np.random.default_rng(0), Curve()
    n_steps = task.order.size // workload.BATCH
    trainer.train(3)  # to compile
    while not curve.is_done(limit):
        rng.shuffle(task.order)
        curve.trained.append(measure(lambda: trainer.train(n_steps)))
        curve.accuracies.append(float((trainer.predict(features) == labels).mean()))  # type: ignore[attr-defined]
        evolve = getattr(trainer, "evolve", None)
        curve.evolved.append(measure(evolve) if evolve else 0.0)
    return curve


def _train_real(n_threads: int, n_epochs: int) -> Curve:
    run = run_training(1, (f"training.epochs={n_epochs}", f"runtime.threads={n_threads}"))
    names = ("train_seconds", "evolve_seconds", "test_accuracy")
    return Curve(*([epoch[name] for epoch in run.epochs] for name in names))
