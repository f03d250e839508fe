"""A network as a PyTorch module; imported only where PyTorch is wanted."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from hpc_sparse.inference import TrainedModel
from hpc_sparse.interop.front_end import ExportedNetwork
from hpc_sparse.network.layers.sparse import SparseLayer, sparse_layers

BETA_NOTICE = "Sparse CSR tensor support is in beta"


class SparseModule(torch.nn.Module):
    """The layers of a network, with the scaling of its features before them and without its output activation.

    Parameters
    ----------
    model : TrainedModel
        The model to copy; the module shares nothing with it.

    Raises
    ------
    InputError
        A layer is of another kind than ``sparse``, or a front end cannot be folded into the first layer.
    """

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        exported = ExportedNetwork.of(model)
        inputs, scaling = exported.chosen, exported.standardise
        statistics = (
            {} if scaling is None or not scaling.is_on else {"mean": scaling.shift, "deviation": scaling.divisor}
        )
        self.register_buffer("inputs", None if inputs is None else torch.from_numpy(inputs.astype(np.int64)))
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.from_numpy(statistics[name].copy()) if statistics else None)
        self.layers = torch.nn.ModuleList(SparseLinear(layer) for layer in sparse_layers(exported))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weighted sums of the output layer (logits), float32[n_samples, n_outputs]."""
        if self.mean is not None:
            x = (x - self.mean) / self.deviation
        if self.inputs is not None:
            x = x[:, self.inputs]
        for layer in self.layers:
            x = layer(x)
        return x


class SparseLinear(torch.nn.Module):
    """One layer with its activation: ``f(x W^T + b)``, W a CSR tensor (n_out, n_in)."""

    def __init__(self, layer: SparseLayer) -> None:
        super().__init__()
        matrix = layer.incoming.to_csr()
        indptr, indices = (torch.from_numpy(array.astype(np.int64)) for array in (matrix.indptr, matrix.indices))
        values = torch.from_numpy(matrix.data.copy())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=BETA_NOTICE)
            weight = torch.sparse_csr_tensor(indptr, indices, values, matrix.shape, check_invariants=False)
        self.weight = torch.nn.Parameter(weight)
        self.bias = torch.nn.Parameter(torch.from_numpy(layer.bias.copy()))
        self.slope = layer.slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` is float32[n_samples, n_in]."""
        sums = torch.sparse.mm(self.weight, x.t()).t() + self.bias
        return torch.nn.functional.leaky_relu(sums, self.slope)
