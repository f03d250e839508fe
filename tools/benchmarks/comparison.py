"""Training the same network with every peer, interleaved."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial

from threadpoolctl import threadpool_info

from benchmarks import peers, report, workload
from benchmarks.timing import interleave, measure
from hpc_sparse.kernels import INSTRUCTION_SET

WORKLOADS: dict[str, Callable[[], workload.Workload]] = {
    "fashion-mnist": workload.fashion_mnist,
    "cifar10": workload.cifar10,
}

LEAST_SECONDS = 1.0
"""Shortest measurement: long enough for the system to move threads off a shared core."""


def compare_peers(
    network: str, n_threads: int, n_rounds: int, n_steps: int, names: tuple[str, ...], *, as_json: bool
) -> None:
    """Print seconds per epoch of each peer and how many times longer than ours they are.

    A measurement takes ``n_steps`` steps, or more if these take less than :data:`LEAST_SECONDS`.
    """
    task = WORKLOADS[network]() if network in WORKLOADS else workload.small_cifar10(float(network))
    trainers, notes = _start(task, n_threads, names)
    steps = {name: _enough_steps(trainers[name], n_steps) for name in names if name in trainers}
    cases = {name: partial(trainers[name].train, n) for name, n in steps.items()}
    timings = {name: timing.scaled(1 / steps[name]) for name, timing in interleave(cases, n_rounds).items()}
    ours = timings.get("ours")
    rows = []
    for name, timing in timings.items():
        epoch = timing.scaled(task.steps_per_epoch)
        rows.append(
            {
                "peer": name,
                "s per epoch": epoch.median,
                "least": epoch.fastest,
                "most": epoch.slowest,
                "times ours": timing.median / ours.median if ours else float("nan"),
            }
        )
    title = f"{task.name}, {task.network.n_connections:,} connections, batch {workload.BATCH}, {n_threads} threads"
    notes.append(
        f"{n_rounds} rounds of at least {n_steps} steps and about {LEAST_SECONDS:g} s each, interleaved; "
        f"scaled to {task.n_epoch_samples:,} samples"
    )
    notes += [instructions(), "no change of topology is included"]
    report.show(title, rows, notes, as_json=as_json)


def instructions() -> str:
    """Vector instructions that each library chose in this process."""
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    found = [f"{each['internal_api']} {each['version']} {each.get('architecture') or ''}".strip() for each in blas]
    found.insert(0, f"hpc_sparse {INSTRUCTION_SET.name}")
    if "torch" in sys.modules:
        found.append(f"PyTorch {sys.modules['torch'].backends.cpu.get_cpu_capability()}")
    return f"instructions: {', '.join(found)}"


def _enough_steps(trainer: peers.Peer, n_steps: int) -> int:
    run = partial(trainer.train, n_steps)
    run()  # to compile and to touch memory
    return math.ceil(n_steps * max(1.0, LEAST_SECONDS / measure(run)))


def _start(task: workload.Workload, n_threads: int, names: tuple[str, ...]) -> tuple[dict[str, peers.Peer], list[str]]:
    trainers, notes = {}, []
    for name in sorted(names, key="ours".__eq__):  # last, so that our settings for idle threads reach no other
        try:
            trainers[name] = peers.load(name)(task, n_threads)
        except ImportError as error:
            notes.append(f"left out: {name} ({error})")
            continue
        if note := getattr(trainers[name], "note", ""):
            notes.append(f"{name}: {note}")
    return trainers, notes
