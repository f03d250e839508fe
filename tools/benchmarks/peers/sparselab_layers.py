"""The package sparselab: PyTorch layers on padded CSR with C++ kernels, of the same density."""

from __future__ import annotations

import sparselab

from benchmarks.peers.torch_steps import TorchTrainer
from benchmarks.workload import Workload


class Trainer(TorchTrainer):
    """``sparselab.SparseLinear``."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        super().__init__(workload, n_threads, _make_layer)


def _make_layer(layer: object) -> sparselab.SparseLinear:
    topology = layer.topology  # type: ignore[attr-defined]
    return sparselab.SparseLinear(*reversed(topology.shape), sparsity=1.0 - topology.density, padding_ratio=0.0)
