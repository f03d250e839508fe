"""One sample through a layer whose samples have places."""

from __future__ import annotations

from hpc_sparse.dtypes import Float32Array
from hpc_sparse.kernels.simd.machine import PADDING
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.tiles import Tiles


def forward_alone_by_places(layer: Layer, source: Float32Array, out: Float32Array) -> None:
    """The bits of ``layer.forward`` for one sample, whose places lie one after the other.

    Parameters
    ----------
    layer : Layer
    source : float32[n_places * n_in]
    out : float32[places that come out * n_out]
        Overwritten.
    """
    n_out, n_in = layer.shape
    batch = Tiles.empty(n_in, 1, PADDING, n_places=source.size // n_in)
    of_places = batch.values.reshape(-1, PADDING)
    of_places[:] = 0
    of_places[:, 0] = source
    n_samples, n_given = layer.shape_out(batch.batch)
    given = Tiles.empty(n_out, n_samples, PADDING, n_places=n_given)
    layer.forward(batch, given, None, None)
    out[:] = given.values.reshape(-1, PADDING)[:, 0]
