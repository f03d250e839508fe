"""PyTorch with dense layers of the same widths: what a user without sparsity runs."""

from __future__ import annotations

import torch

from benchmarks.peers.torch_steps import TorchTrainer
from benchmarks.workload import Workload


class Trainer(TorchTrainer):
    """``torch.nn.Linear``."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        super().__init__(workload, n_threads, lambda layer: torch.nn.Linear(*reversed(layer.topology.shape)))
