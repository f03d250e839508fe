"""One file per competitor; each trains a :class:`benchmarks.workload.Workload` in its own way."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from benchmarks.timing import Measured
from benchmarks.workload import Workload

NAMES = (
    "ours",
    "torch_dense",
    "torch_dense_tuned",
    "torch_dense_bfloat16",
    "numpy_dense",
    "torch_masked",
    "torch_csr",
    "torch_csr_autograd",
    "sparselab_layers",
    "sparseprop_layers",
    "nerva",
    "authors",
    "scipy_csr_threads",
    "scipy_csr",
)


class Peer(Protocol):
    """Trains a workload; its attribute ``note``, if any, says in what it differs from the others."""

    def train(self, n_steps: int) -> Measured | None:
        """Train for ``n_steps`` steps of batch 128 with momentum and dropout; a peer may measure itself."""


def load(name: str) -> Callable[[Workload, int], Peer]:
    """The peer's constructor ``(workload, n_threads)``, which raises ImportError, too.

    Raises
    ------
    ImportError
        A library that it needs is not installed.
    """
    return import_module(f"benchmarks.peers.{name}").Trainer  # type: ignore[no-any-return]
