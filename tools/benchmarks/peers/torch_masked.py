"""PyTorch with masks: dense layers whose absent connections are set to zero after each update."""

from __future__ import annotations

import torch

from benchmarks.peers.torch_steps import TorchTrainer, dense_weight
from benchmarks.workload import Workload


class Trainer(TorchTrainer):
    """Simulated sparsity, as most of the literature does it."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        self._masked: list[tuple[torch.Tensor, torch.Tensor]] = []
        super().__init__(workload, n_threads, self._make_layer)

    def _make_layer(self, layer: object) -> torch.nn.Module:
        weight = dense_weight(layer)
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data.copy_(weight)
        self._masked.append((linear.weight.data, (weight != 0).to(torch.float32)))
        return linear

    def after_step(self) -> None:
        for weight, mask in self._masked:
            weight.mul_(mask)
