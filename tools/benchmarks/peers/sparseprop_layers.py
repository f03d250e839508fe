"""The package sparseprop (Nikdan et al. 2023): PyTorch layers with vectorised sparse backpropagation."""

from __future__ import annotations

import torch
from sparseprop.modules import SparseLinear

from benchmarks.peers.torch_steps import TorchTrainer, dense_weight
from benchmarks.workload import Workload


class Trainer(TorchTrainer):
    """``sparseprop.modules.SparseLinear``."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        super().__init__(workload, n_threads, _make_layer)


def _make_layer(layer: object) -> torch.nn.Module:
    weight = dense_weight(layer)
    return SparseLinear(weight, bias=torch.nn.Parameter(torch.zeros(weight.shape[0])))
