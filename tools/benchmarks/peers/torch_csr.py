"""PyTorch with CSR matrices at its best: the backward pass is written out, the parameters are the stored values.

Both passes use ``torch.sparse.mm``, with the matrix and with its transpose, whose index is made once. The gradient is a
sampled dense-dense product. ``torch_csr_autograd`` measures autograd instead.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch

from benchmarks.peers.torch_steps import TorchTrainer
from benchmarks.workload import Workload

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


class CsrProduct(torch.autograd.Function):
    """y = x W^T + b with W in CSR form."""

    @staticmethod
    def forward(ctx, x, values, bias, layer):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, values)
        ctx.layer = layer
        matrix = torch.sparse_csr_tensor(layer.indptr, layer.indices, values, layer.shape, check_invariants=False)
        return torch.sparse.mm(matrix, x.t()).t() + bias

    @staticmethod
    def backward(ctx, delta):  # type: ignore[no-untyped-def]
        x, values = ctx.saved_tensors
        layer = ctx.layer
        zeros = torch.sparse_csr_tensor(
            layer.indptr, layer.indices, torch.zeros_like(values), layer.shape, check_invariants=False
        )
        gradient = torch.sparse.sampled_addmm(zeros, delta.t().contiguous(), x, alpha=1.0, beta=0.0).values()
        below = None
        if ctx.needs_input_grad[0]:
            transposed = torch.sparse_csr_tensor(
                layer.t_indptr, layer.t_indices, values[layer.t_position], layer.shape[::-1], check_invariants=False
            )
            below = torch.sparse.mm(transposed, delta.t()).t()
        return below, gradient, delta.sum(0), None


class CsrLinear(torch.nn.Module):
    """One of our layers with its weights as the values of a CSR matrix."""

    def __init__(self, layer: object) -> None:
        super().__init__()
        topology = layer.topology  # type: ignore[attr-defined]
        transposed = topology.transposed
        self.shape = topology.shape
        self.indptr, self.indices = _long(topology.indptr), _long(topology.indices)
        self.t_indptr, self.t_indices = _long(transposed.indptr), _long(transposed.outs)
        self.t_position = _long(transposed.position)
        self.values = torch.nn.Parameter(torch.from_numpy(layer.weight.copy()))  # type: ignore[attr-defined]
        self.bias = torch.nn.Parameter(torch.zeros(topology.shape[0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return CsrProduct.apply(x, self.values, self.bias, self)  # type: ignore[no-any-return,no-untyped-call]


class Trainer(TorchTrainer):
    """``torch.sparse``."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        super().__init__(workload, n_threads, CsrLinear)


def _long(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.int64))
