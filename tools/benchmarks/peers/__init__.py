"""One file per competitor; each trains a :class:`benchmarks.workload.Workload` in its own way."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from benchmarks.workload import Workload

NAMES = ("ours", "torch_dense", "torch_masked", "torch_csr", "sparselab_layers", "sparseprop_layers", "scipy_csr")


class Peer(Protocol):
    """Trains a workload."""

    def train(self, n_steps: int) -> None:
        """Do so many training steps of batch 128 with momentum and dropout."""


def load(name: str) -> Callable[[Workload, int], Peer]:
    """The peer's constructor ``(workload, n_threads)``.

    Raises
    ------
    ImportError
        What it needs is not installed.
    """
    return import_module(f"benchmarks.peers.{name}").Trainer  # type: ignore[no-any-return]
