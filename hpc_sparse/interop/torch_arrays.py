"""Weights of layers as PyTorch's modules hold them, as NumPy arrays: blocks, and recurrent layers, which become dense.

PyTorch has no sparse recurrent module. A layer of n GRUs with n_in inputs becomes 3 n (n_in + n + 2) numbers, however
few connections it has; one of tanh cells n (n_in + n + 2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.errors import InputError
from hpc_sparse.inference import TrainedModel
from hpc_sparse.network.connections.block import Block
from hpc_sparse.network.connections.protocol import Connections
from hpc_sparse.network.layers.recurrent import RecurrentLayer

LARGEST = 1 << 31
"""Most bytes of a recurrent layer: a dense one of as many is refused."""


class BsrArrays(NamedTuple):
    """Arguments of ``torch.sparse_bsr_tensor``.

    Attributes
    ----------
    crow_indices, col_indices : int64 array
    values : float32[n_blocks, r, c]
    size : (int, int)
        Multiples of r and c: beyond the layer are zeros.
    """

    crow_indices: npt.NDArray[np.int64]
    col_indices: npt.NDArray[np.int64]
    values: Float32Array
    size: tuple[int, int]


def bsr_arrays(connections: Connections) -> BsrArrays:
    """Copies of the weights of connections in blocks.

    Raises
    ------
    InputError
        They are of another kind.
    """
    if not isinstance(connections, Block):
        raise InputError(f'connections "{connections.kind}": expected "{Block.kind}", for a tensor of blocks')
    matrix = connections.to_bsr()
    indptr, indices = (array.astype(np.int64) for array in (matrix.indptr, matrix.indices))
    n_rows, n_columns = matrix.shape
    return BsrArrays(indptr, indices, matrix.data.copy(), (n_rows, n_columns))


def recurrent_arrays(layer: RecurrentLayer) -> dict[str, Float32Array]:
    """The ``state_dict`` of a ``torch.nn.GRU`` or ``torch.nn.RNN`` of one layer with the same states.

    Weights are dense: ``weight_ih_l0`` (n_gates n, n_in), ``weight_hh_l0`` (n_gates n, n), ``bias_ih_l0`` and
    ``bias_hh_l0``; gates in the order reset, update, new.

    Raises
    ------
    InputError
        They would take 2 GiB or more.
    """
    n_bytes = sum(n_out * n_in for n_out, n_in in (each.shape for each in layer.connections().values())) * 4
    if n_bytes >= LARGEST:
        raise InputError(f"recurrent layer of {layer.shape[0]} neurons: {n_bytes / 1e9:.3g} GB if dense: expected less")
    maps = zip(("ih", "hh"), layer.connections().values(), (layer.bias, layer.recurrent_bias), strict=True)
    found = dict[str, Float32Array]()
    for name, connections, bias in maps:
        found[f"weight_{name}_l0"] = connections.to_csr().toarray().astype(VALUE, copy=False)
        found[f"bias_{name}_l0"] = bias.copy()
    return found


def recurrent_layers(model: TrainedModel) -> list[dict[str, Float32Array]]:
    """What :func:`recurrent_arrays` gives, for each recurrent layer of a model, first to last.

    Raises
    ------
    InputError
        There is none, or one would take 2 GiB or more.
    """
    layers = [recurrent_arrays(layer) for layer in model.network.layers if isinstance(layer, RecurrentLayer)]
    if not layers:
        raise InputError("the network has no recurrent layer")
    return layers
