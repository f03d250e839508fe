"""A network as a PyTorch module; imported only where PyTorch is wanted."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from hpc_sparse.errors import InputError
from hpc_sparse.inference import TrainedModel
from hpc_sparse.interop.front_end import ExportedNetwork
from hpc_sparse.interop.torch_arrays import bsr_arrays, recurrent_arrays
from hpc_sparse.network.connections.block import Block
from hpc_sparse.network.layers.convolution import ConvolutionLayer
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.recurrent import RecurrentLayer
from hpc_sparse.network.layers.sparse import SparseLayer

BETA_NOTICE = "Sparse CSR tensor support is in beta"
BLOCK_NOTICE = "Sparse BSR tensor support is in beta"


class SparseModule(torch.nn.Module):
    """The layers of a network, with the scaling of its features before them and without its output activation.

    Parameters
    ----------
    model : TrainedModel
        The model to copy; the module shares nothing with it.

    Raises
    ------
    InputError
        A layer is of a kind without counterpart, or a front end cannot be folded into the first layer.
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
        self.layers = torch.nn.ModuleList(_module(number, layer) for number, layer in enumerate(exported.layers))
        self.n_places_out = model.network.n_places_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weighted sums of the output layer (logits), float32[n_samples, n_outputs].

        Where there are outputs for each step, float32[n_samples, n_steps, n_outputs].
        """
        if self.mean is not None:
            x = (x - self.mean) / self.deviation
        if self.inputs is not None:
            x = x[:, self.inputs]
        for layer in self.layers:
            x = layer(x)
        return x if self.n_places_out == 1 else x.reshape(len(x), self.n_places_out, -1)


class SparseLinear(torch.nn.Module):
    """One layer with its activation: ``f(x W^T + b)``, W a CSR tensor (n_out, n_in); the same at each place."""

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
        """``x`` is float32[n_samples, n_places * n_in]."""
        places = x.reshape(-1, self.weight.shape[1])
        sums = torch.sparse.mm(self.weight, places.t()).t() + self.bias
        return torch.nn.functional.leaky_relu(sums, self.slope).reshape(len(x), -1)


class BlockLinear(torch.nn.Module):
    """One layer in blocks with its activation: as :class:`SparseLinear`, W a BSR tensor with zeros beyond the layer."""

    def __init__(self, layer: SparseLayer) -> None:
        super().__init__()
        self.shape, arrays = layer.shape, bsr_arrays(layer.incoming)
        index = torch.from_numpy(arrays.crow_indices), torch.from_numpy(arrays.col_indices)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=BLOCK_NOTICE)
            weight = torch.sparse_bsr_tensor(
                *index, torch.from_numpy(arrays.values), arrays.size, check_invariants=False
            )
        self.weight = torch.nn.Parameter(weight)
        self.bias = torch.nn.Parameter(torch.from_numpy(layer.bias.copy()))
        self.slope = layer.slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` is float32[n_samples, n_places * n_in]."""
        n_out, n_in = self.shape
        places = torch.nn.functional.pad(x.reshape(-1, n_in), (0, self.weight.shape[1] - n_in))
        sums = (self.weight @ places.t().contiguous())[:n_out].t() + self.bias
        return torch.nn.functional.leaky_relu(sums, self.slope).reshape(len(x), -1)


class Recurrent(torch.nn.Module):
    """A recurrent layer as ``torch.nn.GRU`` or ``torch.nn.RNN``, whose weights are dense.

    Tokens, integers [n_samples, n_steps], become dense rows with one 1.
    """

    def __init__(self, layer: RecurrentLayer) -> None:
        super().__init__()
        n, self.n_in = layer.shape
        kind = {"gru": torch.nn.GRU, "tanh": torch.nn.RNN}[layer.activation]
        self.cells = kind(self.n_in, n, batch_first=True)
        self.cells.load_state_dict({name: torch.from_numpy(own) for name, own in recurrent_arrays(layer).items()})
        self.reads_tokens, self.gives_all = layer.reads_tokens, layer.output == "all"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` is float32[n_samples, n_steps * n_in], or tokens."""
        if self.reads_tokens:
            steps = torch.nn.functional.one_hot(x.long(), self.n_in).to(self.cells.weight_ih_l0.dtype)
        else:
            steps = x.reshape(len(x), -1, self.n_in)
        states, _ = self.cells(steps)
        return states.reshape(len(x), -1) if self.gives_all else states[:, -1]


class Convolution(torch.nn.Module):
    """A convolution with its sampling. PyTorch has no sparse one: taps that do not exist are zeros of a dense kernel.

    Sums over places are PyTorch's, so that outputs of shifted images may differ in their last bits.
    """

    def __init__(self, layer: ConvolutionLayer) -> None:
        super().__init__()
        (n_out, n_in), side = layer.shape, layer.kernel
        taps = layer.incoming.to_csr().toarray().reshape(n_out, side, side, n_in).transpose(0, 3, 1, 2)
        self.weight = torch.nn.Parameter(torch.from_numpy(taps.copy()))
        self.bias = torch.nn.Parameter(torch.from_numpy(layer.bias.copy()))
        self.sampler = layer.sampler
        rows = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filter", (rows[:, None] * rows).expand(n_out, 1, 3, 3).clone(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` is float32[n_samples, n_places * n_in], the neurons of a place side by side."""
        own, side = self.sampler, self.weight.shape[2]
        images = x.reshape(len(x), *own.sides, -1).permute(0, 3, 1, 2)
        sums = torch.nn.functional.conv2d(_around(images, side), self.weight, self.bias, own.stride)
        images = torch.nn.functional.leaky_relu(sums, float(own.slope))
        if own.is_smooth:
            images = torch.nn.functional.conv2d(_around(images, 3), self.filter, groups=images.shape[1])
        if own.step == 2:
            images = self._sampled(images)
        return images.mean(dim=(2, 3)) if own.is_pooled else images.permute(0, 2, 3, 1).reshape(len(x), -1)

    def _sampled(self, images: torch.Tensor) -> torch.Tensor:
        """The first of each 2 x 2 places, or the phase of largest norm."""
        if not self.sampler.chooses:
            return images[:, :, ::2, ::2]
        phases = torch.stack([images[:, :, y::2, x::2] for y in (0, 1) for x in (0, 1)], dim=1)
        order = {"l1": 1.0, "l2": 2.0, "linf": float("inf")}[self.sampler.norm]
        chosen = torch.linalg.vector_norm(phases.flatten(start_dim=2), ord=order, dim=2).argmax(dim=1)
        return phases[torch.arange(len(images)), chosen]


def _around(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images with as much around them, from their other sides, as a kernel reads."""
    before, after = (side - 1) // 2, side // 2
    return torch.nn.functional.pad(images, (before, after, before, after), mode="circular")


def _module(number: int, layer: Layer) -> torch.nn.Module:
    if isinstance(layer, SparseLayer):
        return BlockLinear(layer) if isinstance(layer.incoming, Block) else SparseLinear(layer)
    if isinstance(layer, RecurrentLayer):
        return Recurrent(layer)
    if isinstance(layer, ConvolutionLayer):
        return Convolution(layer)
    raise InputError(
        f'layer {number} is of the kind "{layer.kind}": expected "{SparseLayer.kind}", "{RecurrentLayer.kind}" or '
        f'"{ConvolutionLayer.kind}"'
    )
