"""PyTorch with CSR matrices as a user would write it: ``torch.sparse.mm``, autograd, and ``torch.optim.SGD``.

The parameter is the CSR matrix itself. The gradient of ``torch.sparse.mm`` is a CSR matrix of the same connections.
That of ``@`` and of ``torch.nn.functional.linear`` is dense, and the optimiser refuses it.
"""

from __future__ import annotations

import warnings

import torch

from benchmarks.peers.torch_steps import TorchTrainer
from benchmarks.workload import Workload

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


class CsrLinear(torch.nn.Module):
    """y = x W^T + b with one of our layers as the CSR parameter W."""

    def __init__(self, layer: object) -> None:
        super().__init__()
        topology = layer.topology  # type: ignore[attr-defined]
        values = torch.from_numpy(layer.weight.copy())  # type: ignore[attr-defined]
        indptr, indices = torch.from_numpy(topology.indptr).long(), torch.from_numpy(topology.indices).long()
        matrix = torch.sparse_csr_tensor(indptr, indices, values, topology.shape, check_invariants=True)
        self.weight = torch.nn.Parameter(matrix)
        self.bias = torch.nn.Parameter(torch.zeros(topology.shape[0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sparse.mm(self.weight, x.t()).t() + self.bias


class Trainer(TorchTrainer):
    """``torch.sparse.mm`` with its own backward pass."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        super().__init__(workload, n_threads, CsrLinear)
