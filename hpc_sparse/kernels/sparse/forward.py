"""Forward pass of one layer: weighted sums, activation, dropout, a tile of columns at a time, row by row.

Activations are float32[n_neurons * n_columns] in tiles, see :mod:`hpc_sparse.kernels.simd.columns`. The number of
columns is a multiple of :data:`hpc_sparse.kernels.simd.machine.PADDING`. Columns beyond the batch hold
numbers nobody uses.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.hashing import GOLDEN, mix64
from hpc_sparse.kernels.simd.activation import BLOCK, COLUMN_STEP, WORDS
from hpc_sparse.kernels.simd.columns import n_tiles_of, nth_tile
from hpc_sparse.kernels.simd.prefetch import distance_of
from hpc_sparse.kernels.simd.row_loops import row_sum, row_sum_activated
from hpc_sparse.kernels.simd.row_ranges import bytes_of_value, n_rows, tile_base


@njit(parallel=True, cache=True, nogil=True)
def forward(indptr, indices, weight, bias, source, slope, bounds, width, out):
    """``out = f(W source + bias)``, with ``f(z) = z if z >= 0 else slope * z``.

    Where every connection exists, :func:`~hpc_sparse.kernels.sparse.dense.forward_dense` gives the same bits.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    indices : int32[nnz]
    weight : float32[nnz]
    bias : float32[n_out]
    source : float32[n_in * n_columns] in tiles, or bfloat16 as uint16; or RowRanges
    slope : float32
        1 makes it linear.
    bounds : int64[n_blocks + 1]
        Row blocks that are computed independently.
    width : int
        Of the tiles.
    out : float32[n_out * n_columns] in tiles, or bfloat16 as uint16
        Overwritten.
    """
    n_out, n_blocks, last = bias.size, bounds.size - 1, indices.size - 1
    n_columns = out.size // n_out
    n_in = n_rows(source, n_columns)
    for work in prange(n_tiles_of(n_columns, width) * n_blocks):
        column, own = nth_tile(work // n_blocks, n_columns, width)
        distance = distance_of(n_in * own * bytes_of_value(source))
        block = work % n_blocks
        stop = np.int64(indptr[bounds[block]])  # to 64 bits once, not at every use
        for row in range(bounds[block], bounds[block + 1]):
            start, stop = stop, np.int64(indptr[row + 1])
            base = tile_base(source, column, n_columns)
            connections = source, base, indices, weight, start, stop, last, distance, bias[row]
            row_sum(own, *connections, slope, out, column * n_out + row * own)


@njit(parallel=True, cache=True, nogil=True)
def forward_train(
    indptr,
    indices,
    weight,
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
    indptr, indices, weight, bias, source, slope, bounds, width, out
        As in :func:`forward`.
    drop_below : uint32
        An activation is dropped where its random 32-bit number is below this: drop rate x 2^32.
    scale : float32
        Factor of the activations that stay, 1 / (1 - drop rate).
    key : uint64
        Stream of this layer, epoch and step; the number of an activation is a hash of key, neuron and column.
    first_row, first_column : int64
        Numbers, for that hash, of the first neuron and of the first column here.
    record : uint16[n_out * n_columns * WORDS / BLOCK] in tiles
        Overwritten with what the backward pass needs: see :mod:`hpc_sparse.kernels.simd.activation`.
    """
    n_out, n_blocks, last = bias.size, bounds.size - 1, indices.size - 1
    n_columns = out.size // n_out
    n_in = n_rows(source, n_columns)
    shift = np.uint32(np.uint64(first_column) * np.uint64(COLUMN_STEP))
    for work in prange(n_tiles_of(n_columns, width) * n_blocks):
        column, own = nth_tile(work // n_blocks, n_columns, width)
        distance = distance_of(n_in * own * bytes_of_value(source))
        block = work % n_blocks
        stop = np.int64(indptr[bounds[block]])  # to 64 bits once, not at every use
        for row in range(bounds[block], bounds[block + 1]):
            start, stop = stop, np.int64(indptr[row + 1])
            row_key = np.uint32(np.uint32(mix64(key + np.uint64(first_row + row) * GOLDEN)) + shift)
            offset = column * n_out + row * own
            base = tile_base(source, column, n_columns)
            connections = source, base, indices, weight, start, stop, last, distance, bias[row]
            dropout = column, slope, scale, drop_below, row_key, record, offset // BLOCK * WORDS
            row_sum_activated(own, *connections, out, offset, *dropout)
