"""Forward pass of a dense layer: the product of a whole matrix, block by block."""

from __future__ import annotations

from numba import njit, prange

from hpc_sparse.kernels.simd.columns import tile_of
from hpc_sparse.kernels.simd.dense_tiles import DENSE_COLUMNS, DENSE_ROWS, dense_tile, dense_tile_padding
from hpc_sparse.kernels.simd.machine import PADDING


@njit(parallel=True, cache=True, nogil=True)
def forward_dense(weight, bias, source, slope, width, out):
    """The pass of :func:`hpc_sparse.kernels.sparse.forward.forward` over a layer with every connection, to the bit.

    Where each neuron has inputs of its own, a row of the source is read for every connection. Here all neurons have
    the same inputs, so it is read once for DENSE_ROWS of them. The work is cut by columns too, so that an output
    layer of ten neurons is enough for many threads.

    Parameters
    ----------
    weight : float32[n_out * n_in]
        Row by row.
    bias : float32[n_out]
    source : float32[n_in * n_columns] in tiles
    slope : float32
    width : int
        Of the tiles: one of :data:`hpc_sparse.kernels.simd.machine.WIDTHS`, or ``n_columns`` for one tile.
    out : float32[n_out * n_columns] in tiles
        Overwritten.
    """
    n_out = bias.size
    n_columns = out.size // n_out
    n_in = source.size // n_columns
    n_groups = (n_out + DENSE_ROWS - 1) // DENSE_ROWS
    n_steps = (n_columns + DENSE_COLUMNS - 1) // DENSE_COLUMNS
    for work in prange(n_steps * n_groups):  # the groups of the same columns follow each other, and share their source
        column, group = work // n_groups * DENSE_COLUMNS, work % n_groups * DENSE_ROWS
        stop = min(n_columns, column + DENSE_COLUMNS)
        while column < stop:
            first, own = tile_of(column, n_columns, width)
            rows = n_in, own, column - first, group, n_out, slope
            if column + DENSE_COLUMNS <= stop and column - first + DENSE_COLUMNS <= own:
                dense_tile(weight, bias, source, first * n_in, *rows, out, first * n_out)
                column += DENSE_COLUMNS
            else:
                dense_tile_padding(weight, bias, source, first * n_in, *rows, out, first * n_out)
                column += PADDING
