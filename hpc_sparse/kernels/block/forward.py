"""Forward pass of block-sparse connections: strips of rows, a group of columns at a time.

Activations are as in :mod:`hpc_sparse.kernels.sparse.forward`. The last block row and the last block column may reach
beyond the layer; what is beyond is neither read nor written.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.block.finish import finish, finish_dropped
from hpc_sparse.kernels.block.strips import GROUPS, ROOM, STRIPS, columns_at_a_time, strip
from hpc_sparse.kernels.hashing import GOLDEN, mix64
from hpc_sparse.kernels.simd.activation import BLOCK, COLUMN_STEP, WORDS
from hpc_sparse.kernels.simd.columns import n_tiles_of, nth_tile


@njit(parallel=True, cache=True, nogil=True)
def forward(indptr, indices, weight, unit, bias, source, slope, bounds, width, out):
    """``out = f(W source + bias)``, with ``f(z) = z if z >= 0 else slope * z``.

    Parameters
    ----------
    indptr : int32[n_block_rows + 1], or int64 beyond 2^31 blocks
    indices : int32[n_blocks]
    weight : float32[n_blocks * r * c]
        Row by row within a block.
    unit : (int64, int64)
        (r, c).
    bias : float32[n_out]
    source : float32[n_in * n_columns] in tiles, or bfloat16 as uint16
    slope : float32
        1 makes it linear.
    bounds : int64[n + 1]
        Ranges of block rows that are computed independently.
    width : int
        Of the tiles.
    out : float32[n_out * n_columns] in tiles, or bfloat16 as uint16
        Overwritten.
    """
    n_out, n_blocks, (r, c) = bias.size, bounds.size - 1, unit
    n_columns = out.size // n_out
    n_in = source.size // n_columns
    for work in prange(n_tiles_of(n_columns, width) * n_blocks):
        column, own = nth_tile(work // n_blocks, n_columns, width)
        group = columns_at_a_time(STRIPS, GROUPS, r, own)
        sums = np.empty(ROOM, np.float32)
        for block_row in range(bounds[work % n_blocks], bounds[work % n_blocks + 1]):
            start, stop = np.int64(indptr[block_row]), np.int64(indptr[block_row + 1])
            first, last = block_row * r, min(n_out, (block_row + 1) * r)
            for at in range(0, own, group):
                row = first
                while row < last:
                    tile = source, column * n_in + at, own, indices, indices
                    blocks = weight, (row - first) * c, c, start, stop, c, n_in, r * c, bias, row
                    n_rows = strip(group, last - row, *tile, *blocks, sums)
                    for i in range(n_rows):
                        finish(sums, i * group, group, slope, out, column * n_out + (row + i) * own + at)
                    row += n_rows


@njit(parallel=True, cache=True, nogil=True)
def forward_train(
    indptr,
    indices,
    weight,
    unit,
    bias,
    source,
    slope,
    drop_below,
    scale,
    key,
    first_row,
    first_column,
    bounds,
    width,
    out,
    record,
):
    """As :func:`forward`, then inverted dropout; records what the backward pass needs.

    Parameters
    ----------
    indptr, indices, weight, unit, bias, source, slope, bounds, width, out
        As in :func:`forward`.
    drop_below, scale, key, first_row, first_column, record
        As in :func:`hpc_sparse.kernels.sparse.forward.forward_train`.
    """
    n_out, n_blocks, (r, c) = bias.size, bounds.size - 1, unit
    n_columns = out.size // n_out
    n_in = source.size // n_columns
    shift = np.uint32(np.uint64(first_column) * np.uint64(COLUMN_STEP))
    for work in prange(n_tiles_of(n_columns, width) * n_blocks):
        column, own = nth_tile(work // n_blocks, n_columns, width)
        group = columns_at_a_time(STRIPS, GROUPS, r, own)
        sums = np.empty(ROOM, np.float32)
        for block_row in range(bounds[work % n_blocks], bounds[work % n_blocks + 1]):
            start, stop = np.int64(indptr[block_row]), np.int64(indptr[block_row + 1])
            first, last = block_row * r, min(n_out, (block_row + 1) * r)
            for at in range(0, own, group):
                row = first
                while row < last:
                    tile = source, column * n_in + at, own, indices, indices
                    blocks = weight, (row - first) * c, c, start, stop, c, n_in, r * c, bias, row
                    n_rows = strip(group, last - row, *tile, *blocks, sums)
                    for i in range(n_rows):
                        row_key = np.uint32(np.uint32(mix64(key + np.uint64(first_row + row + i) * GOLDEN)) + shift)
                        target = column * n_out + (row + i) * own + at
                        dropout = column + at, slope, scale, drop_below, row_key, record, target // BLOCK * WORDS
                        finish_dropped(sums, i * group, group, out, target, *dropout)
                    row += n_rows
