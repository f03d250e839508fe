"""Backward pass of block-sparse connections: from the deltas of the outputs to those of the inputs.

As in :mod:`hpc_sparse.kernels.sparse.backward`, on the transposed index, here over blocks.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.block.finish import finish, finish_gated
from hpc_sparse.kernels.block.strips import (
    ROOM,
    TRANSPOSED_GROUPS,
    TRANSPOSED_STRIPS,
    columns_at_a_time,
    transposed_strip,
)
from hpc_sparse.kernels.simd.activation import BLOCK, WORDS
from hpc_sparse.kernels.simd.columns import n_tiles_of, nth_tile


@njit(parallel=True, cache=True, nogil=True)
def backward(indptr, outs, position, weight, unit, delta, n_columns, record, slope, scale, bounds, width, out):
    """``out = (W^T delta) * f'``, where ``f'`` is read from the record of the layer below.

    Parameters
    ----------
    indptr : int32[n_block_columns + 1], or int64 beyond 2^31 blocks
        Transposed index: where the blocks of each block column start.
    outs : int32[n_blocks]
        Transposed index: the block row of each block.
    position : int32[n_blocks], or int64 beyond 2^31 blocks
        Transposed index: where the block's weights are.
    weight, unit
        As in :func:`hpc_sparse.kernels.block.forward.forward`.
    delta : float32[n_out * n_columns] in tiles
        Derivative of the loss by this layer's weighted sums; 0 in the columns beyond the batch.
    n_columns : int
    record : uint16[n_in * n_columns * WORDS / BLOCK] in tiles
        As in :func:`hpc_sparse.kernels.sparse.backward.backward`; empty for a layer that applies its own derivative.
    slope, scale : float32
        The layer below's slope and dropout factor.
    bounds : int64[n + 1]
        Ranges of block columns that are computed independently.
    width : int
        Of the tiles.
    out : float32[n_in * n_columns] in tiles
        Overwritten.
    """
    n_blocks, (r, c) = bounds.size - 1, unit
    n_in, n_out = out.size // n_columns, delta.size // n_columns
    nothing, linear = np.empty(0, np.float32), np.float32(1)
    for work in prange(n_tiles_of(n_columns, width) * n_blocks):
        column, own = nth_tile(work // n_blocks, n_columns, width)
        group = columns_at_a_time(TRANSPOSED_STRIPS, TRANSPOSED_GROUPS, c, own)
        sums = np.empty(ROOM, np.float32)
        for block_column in range(bounds[work % n_blocks], bounds[work % n_blocks + 1]):
            start, stop = np.int64(indptr[block_column]), np.int64(indptr[block_column + 1])
            first, last = block_column * c, min(n_in, (block_column + 1) * c)
            for at in range(0, own, group):
                row = first
                while row < last:
                    tile = delta, column * n_out + at, own, outs, position
                    blocks = weight, row - first, c, start, stop, r, n_out, r * c, nothing, row
                    n_rows = transposed_strip(group, last - row, *tile, *blocks, sums)
                    for i in range(n_rows):
                        target = column * n_in + (row + i) * own + at
                        if record.size:
                            place = target // BLOCK * WORDS
                            finish_gated(sums, i * group, group, out, target, slope, scale, record, place)
                        else:
                            finish(sums, i * group, group, linear, out, target)
                    row += n_rows
