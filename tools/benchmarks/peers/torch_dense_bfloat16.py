"""PyTorch with dense layers whose products are in bfloat16, compiled and fused."""

from __future__ import annotations

from typing import ClassVar

import torch

from benchmarks.peers import torch_dense_tuned


class Trainer(torch_dense_tuned.Trainer):
    """``torch.autocast`` around the compiled loss."""

    note: ClassVar[str] = "products in bfloat16, weights in float32; else as torch_dense_tuned"

    def loss(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch."""
        with torch.autocast("cpu", torch.bfloat16):
            return super().loss(features, labels)
