"""Activations in tiles back to rows of samples, as other programs have them: the way back of a batch."""

from __future__ import annotations

from numba import njit, prange

from hpc_sparse.kernels.simd.columns import tile_of
from hpc_sparse.kernels.simd.dense_tiles import turned_tile
from hpc_sparse.kernels.simd.machine import LANES


@njit(parallel=True, cache=True, nogil=True)
def scatter_rows(tiles, width, out):
    """``out[c, j]`` = column ``c`` of neuron ``j``; columns beyond the samples are left out.

    Parameters
    ----------
    tiles : float32[n_neurons * n_columns] in tiles
    width : int
        Of the tiles.
    out : float32[n_samples, n_neurons]
        Overwritten.
    """
    n_samples, n_neurons = out.shape
    n_columns, n_tiled = tiles.size // n_neurons, n_neurons - n_neurons % LANES
    for block in prange(-(-n_samples // LANES)):
        first = block * LANES
        tile, stride = tile_of(first, n_columns, width)
        base, n_whole = tile * n_neurons + first - tile, 0
        if first + LANES <= n_samples:
            n_whole = n_tiled
            for j in range(0, n_whole, LANES):
                turned_tile(tiles, base + j * stride, stride, out, first * n_neurons + j, n_neurons)
        for j in range(n_whole, n_neurons):
            for c in range(min(LANES, n_samples - first)):
                out[first + c, j] = tiles[base + j * stride + c]
