"""PyTorch with dense layers, compiled, and with the optimiser's fused step: the fastest dense one in float32."""

from __future__ import annotations

from typing import ClassVar

import torch

from benchmarks.peers.torch_steps import TorchTrainer
from benchmarks.workload import Workload


class Trainer(TorchTrainer):
    """``torch.compile`` and ``torch.optim.SGD(fused=True)``."""

    note: ClassVar[str] = "torch.compile of model and loss, fused SGD"

    def __init__(self, workload: Workload, n_threads: int) -> None:
        make_layer = lambda layer: torch.nn.Linear(*reversed(layer.topology.shape))  # noqa: E731
        super().__init__(workload, n_threads, make_layer, is_fused=True)
        self._compiled_loss = torch.compile(super().loss)

    def loss(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch."""
        return self._compiled_loss(features, labels)  # type: ignore[no-any-return]
