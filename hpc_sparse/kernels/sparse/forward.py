"""Forward pass of one layer: weighted sums, activation, dropout, row by row.

Activations are float32[n_neurons, stride], neuron-major, the stride a multiple of
:data:`hpc_sparse.kernels.simd.row_loops.PADDING`. Columns beyond the batch hold numbers nobody uses.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.hashing import GOLDEN, mix64
from hpc_sparse.kernels.simd.activation import COLUMN_STEP
from hpc_sparse.kernels.simd.prefetch import connections_ahead, prefetch_rows
from hpc_sparse.kernels.simd.row_loops import (
    HALF_TILE,
    PADDING,
    QUARTER_TILE,
    TILE,
    row_sum_activated_half,
    row_sum_activated_padding,
    row_sum_activated_quarter,
    row_sum_activated_tile,
    row_sum_half,
    row_sum_padding,
    row_sum_quarter,
    row_sum_tile,
)


@njit(inline="always")
def plain_row(source, indices, weight, start, stop, initial, slope, out, row):
    """``out[row] = f(initial + sum over start <= k < stop of weight[k] * source[indices[k]])``."""
    stride = source.shape[1]
    connections = indices, weight, start, stop, initial
    offset = row * stride
    column = 0
    while column + TILE <= stride:
        row_sum_tile(source, stride, column, *connections, slope, out, offset + column)
        column += TILE
    if column + HALF_TILE <= stride:
        row_sum_half(source, stride, column, *connections, slope, out, offset + column)
        column += HALF_TILE
    if column + QUARTER_TILE <= stride:
        row_sum_quarter(source, stride, column, *connections, slope, out, offset + column)
        column += QUARTER_TILE
    while column < stride:
        row_sum_padding(source, stride, column, *connections, slope, out, offset + column)
        column += PADDING


@njit(inline="always")
def dropped_row(source, indices, weight, start, stop, initial, out, row, dropout):
    """The row of :func:`plain_row`, then dropout, by ``slope, scale, drop_below, row_key, record``."""
    stride, record = source.shape[1], dropout[4]
    connections = indices, weight, start, stop, initial
    offset, place = row * stride, row * record.shape[1]
    column = 0
    while column + TILE <= stride:
        row_sum_activated_tile(source, stride, column, *connections, out, offset, *dropout, place)
        column += TILE
    if column + HALF_TILE <= stride:
        row_sum_activated_half(source, stride, column, *connections, out, offset, *dropout, place)
        column += HALF_TILE
    if column + QUARTER_TILE <= stride:
        row_sum_activated_quarter(source, stride, column, *connections, out, offset, *dropout, place)
        column += QUARTER_TILE
    while column < stride:
        row_sum_activated_padding(source, stride, column, *connections, out, offset, *dropout, place)
        column += PADDING


@njit(parallel=True, cache=True, nogil=True)
def forward(indptr, indices, weight, bias, source, slope, bounds, out):
    """``out = f(W source + bias)``, with ``f(z) = z if z >= 0 else slope * z``.

    Where every connection exists, :func:`~hpc_sparse.kernels.sparse.dense.forward_dense` gives the same bits.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    indices : int32[nnz]
    weight : float32[nnz]
    bias : float32[n_out]
    source : float32[n_in, stride], or bfloat16 as uint16
    slope : float32
        1 makes it linear.
    bounds : int64[n_blocks + 1]
        Row blocks that are computed independently.
    out : float32[n_out, stride], or bfloat16 as uint16
        Overwritten.
    """
    ahead = connections_ahead(source)
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            prefetch_rows(source, indices, indptr[row], indptr[row + 1], ahead)
            plain_row(source, indices, weight, indptr[row], indptr[row + 1], bias[row], slope, out, row)


@njit(parallel=True, cache=True, nogil=True)
def forward_train(
    indptr, indices, weight, bias, source, slope, drop_below, scale, key, first_row, first_column, bounds, out, record
):
    """As :func:`forward`, then inverted dropout; records what the backward pass needs.

    Parameters
    ----------
    indptr, indices, weight, bias, source, slope, bounds, out
        As in :func:`forward`.
    drop_below : uint32
        An activation is dropped where its random 32-bit number is below this: drop rate x 2^32.
    scale : float32
        Factor of the activations that stay, 1 / (1 - drop rate).
    key : uint64
        Stream of this layer, epoch and step; the number of an activation is a hash of key, neuron and column.
    first_row, first_column : int64
        Numbers, for that hash, of the first neuron and of the first column here.
    record : uint16[n_out, WORDS * stride / BLOCK]
        Overwritten with what the backward pass needs: see :mod:`hpc_sparse.kernels.simd.activation`.
    """
    ahead = connections_ahead(source)
    shift = np.uint32(np.uint64(first_column) * np.uint64(COLUMN_STEP))
    for block in prange(bounds.size - 1):
        stop = np.int64(indptr[bounds[block]])  # to 64 bits once, not at every use
        for row in range(bounds[block], bounds[block + 1]):
            start, stop = stop, np.int64(indptr[row + 1])
            prefetch_rows(source, indices, start, stop, ahead)
            row_key = np.uint32(np.uint32(mix64(key + np.uint64(first_row + row) * GOLDEN)) + shift)
            dropout = slope, scale, drop_below, row_key, record
            dropped_row(source, indices, weight, start, stop, bias[row], out, row, dropout)
