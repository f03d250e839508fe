"""Forward pass of a dense layer: the product of a whole matrix, tile by tile."""

from __future__ import annotations

from numba import njit, prange

from hpc_sparse.kernels.simd.tiles import DENSE_COLUMNS, DENSE_ROWS, dense_tile, dense_tile_padding


@njit(parallel=True, cache=True, nogil=True)
def forward_dense(weight, bias, source, slope, out):
    """The pass of :func:`hpc_sparse.kernels.sparse.forward.forward` over a layer with every connection, to the bit.

    Where each neuron has inputs of its own, a row of the source is read for every connection. Here all neurons have
    the same inputs, so it is read once for DENSE_ROWS of them. The work is cut by columns too, so that an output
    layer of ten neurons is enough for many threads.

    Parameters
    ----------
    weight : float32[n_out * n_in]
        Row by row.
    bias : float32[n_out]
    source : float32[n_in, stride]
    slope : float32
    out : float32[n_out, stride]
        Overwritten.
    """
    n_out, stride = out.shape
    n_groups = (n_out + DENSE_ROWS - 1) // DENSE_ROWS
    n_tiles = (stride + DENSE_COLUMNS - 1) // DENSE_COLUMNS
    for tile in prange(n_tiles * n_groups):  # the groups of one tile of columns follow each other, and share its source
        column, first = tile // n_groups * DENSE_COLUMNS, tile % n_groups * DENSE_ROWS
        if column + DENSE_COLUMNS <= stride:
            dense_tile(weight, bias, source, source.shape[0], stride, column, first, n_out, slope, out)
        else:
            dense_tile_padding(weight, bias, source, source.shape[0], stride, column, first, n_out, slope, out)
