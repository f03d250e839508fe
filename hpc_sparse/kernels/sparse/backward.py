"""Backward pass of one layer: from the deltas of its outputs to those of its inputs.

The kernels work on the transposed index (connections grouped by input neuron). Every input neuron's sum is then one
pass with its accumulators in registers, and no two threads share a row.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.simd.activation import BLOCK, WORDS, differentiate
from hpc_sparse.kernels.simd.prefetch import connections_ahead, prefetch, prefetch_rows
from hpc_sparse.kernels.simd.row_loops import (
    HALF_TILE,
    PADDING,
    QUARTER_TILE,
    TILE,
    indirect_row_sum_half,
    indirect_row_sum_padding,
    indirect_row_sum_quarter,
    indirect_row_sum_tile,
    row_sum_and_dots_half,
    row_sum_and_dots_padding,
    row_sum_and_dots_quarter,
    row_sum_and_dots_tile,
)

FUSED_STRIDES = (TILE, HALF_TILE, QUARTER_TILE, PADDING)
"""Row strides for which there is :func:`backward_and_gradient`."""


@njit(inline="always")
def transposed_row(delta, outs, position, weight, start, stop, out, row):
    """``out[row] = sum over start <= k < stop of weight[position[k]] * delta[outs[k]]``."""
    stride = delta.shape[1]
    offset = row * stride
    column = 0
    while column + TILE <= stride:
        indirect_row_sum_tile(delta, stride, column, outs, weight, position, start, stop, out, offset + column)
        column += TILE
    if column + HALF_TILE <= stride:
        indirect_row_sum_half(delta, stride, column, outs, weight, position, start, stop, out, offset + column)
        column += HALF_TILE
    if column + QUARTER_TILE <= stride:
        indirect_row_sum_quarter(delta, stride, column, outs, weight, position, start, stop, out, offset + column)
        column += QUARTER_TILE
    while column < stride:
        indirect_row_sum_padding(delta, stride, column, outs, weight, position, start, stop, out, offset + column)
        column += PADDING


@njit(inline="always")
def apply_derivative(record, slope, scale, row, out):
    """Multiply a row of deltas by the derivative of activation and dropout that ``record`` tells."""
    stride, n_words = out.shape[1], record.shape[1]
    for number in range(stride // BLOCK):
        differentiate(out, row * stride + number * BLOCK, slope, scale, record, row * n_words + number * WORDS)


@njit(parallel=True, cache=True, nogil=True)
def backward(indptr, outs, position, weight, delta, record, slope, scale, bounds, out):
    """``out = (W^T delta) * f'``, where ``f'`` is read from the record of the layer below.

    Parameters
    ----------
    indptr : int32[n_in + 1], or int64 beyond 2^31 connections
        Transposed index: where each input neuron's connections start.
    outs : int32[nnz]
        Transposed index: the output neuron of each connection.
    position : int32[nnz], or int64 beyond 2^31 connections
        Transposed index: where the connection's weight is.
    weight : float32[nnz]
    delta : float32[n_out, stride]
        Derivative of the loss by this layer's weighted sums; 0 in the columns beyond the batch.
    record : uint16[n_in, WORDS * stride / BLOCK]
        What :func:`hpc_sparse.kernels.sparse.forward.forward_train` recorded for the layer below.
    slope, scale : float32
        The layer below's slope and dropout factor.
    bounds : int64[n_blocks + 1]
        Blocks of input neurons that are computed independently.
    out : float32[n_in, stride]
        Overwritten with the derivative of the loss by the weighted sums of the layer below.
    """
    ahead = connections_ahead(delta)
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            prefetch_rows(delta, outs, indptr[row], indptr[row + 1], ahead)
            transposed_row(delta, outs, position, weight, indptr[row], indptr[row + 1], out, row)
            apply_derivative(record, slope, scale, row, out)


@njit(parallel=True, cache=True, nogil=True)
def transposed(indptr, outs, position, weight, delta, bounds, out):
    """``out = W^T delta``: :func:`backward` below a layer that applies its own derivative; arguments as there."""
    ahead = connections_ahead(delta)
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            prefetch_rows(delta, outs, indptr[row], indptr[row + 1], ahead)
            transposed_row(delta, outs, position, weight, indptr[row], indptr[row + 1], out, row)


@njit(parallel=True, cache=True, nogil=True)
def backward_and_gradient(
    indptr, outs, position, weight, delta, source, record, slope, scale, bounds, out, weight_gradient
):
    """:func:`backward` and the gradient of every connection in one pass over the rows of deltas.

    For row strides in :data:`FUSED_STRIDES`: the sums of a row then stay in registers.

    Parameters
    ----------
    indptr, outs, position, weight, delta, record, slope, scale, bounds, out
        As in :func:`backward`; ``out`` may be ``source``, whose activations nobody needs any more.
    source : float32[n_in, stride]
        The layer's inputs; finite in the columns beyond the batch.
    weight_gradient : float32[nnz]
        Overwritten, in the order of the weights.
    """
    ahead, stride = connections_ahead(delta), delta.shape[1]
    row_bytes = stride * delta.itemsize
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            start, stop, own = indptr[row], indptr[row + 1], row * stride
            if stop - start <= ahead:  # as in prefetch_rows; one loop for rows and weights costs less than two
                for k in range(start + ahead, min(stop + ahead, position.size)):
                    prefetch(delta, np.int64(outs[k]) * stride, row_bytes)
                    prefetch(weight, position[k], 1)
            connections = delta, outs, position, weight, start, stop
            neuron = source, own, record, row * record.shape[1], slope, scale, out, weight_gradient
            if stride == TILE:
                row_sum_and_dots_tile(*connections, *neuron)
            elif stride == HALF_TILE:
                row_sum_and_dots_half(*connections, *neuron)
            elif stride == QUARTER_TILE:
                row_sum_and_dots_quarter(*connections, *neuron)
            else:
                row_sum_and_dots_padding(*connections, *neuron)
