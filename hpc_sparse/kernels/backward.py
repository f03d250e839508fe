"""Backward pass of one layer: from the deltas of its outputs to those of its inputs.

Works on the transposed index (connections grouped by input neuron), so that every input
neuron's sum is one pass with its accumulators in registers and no two threads share a row.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.forward import HALF_TILE, NEGATIVE, POSITIVE
from hpc_sparse.kernels.simd import (
    PADDING,
    TILE,
    indirect_row_sum_half,
    indirect_row_sum_padding,
    indirect_row_sum_tile,
    row_sum_and_dots,
)

_ZERO = np.float32(0)


@njit(inline="always")
def transposed_row(delta, outs, position, weight, start, stop, out, row):
    """``out[row] = sum over start <= k < stop of weight[position[k]] * delta[outs[k]]``."""
    stride = delta.shape[1]
    offset = row * stride
    column = 0
    while column + TILE <= stride:
        indirect_row_sum_tile(delta, stride, column, outs, weight, position, start, stop, _ZERO, out, offset + column)
        column += TILE
    if column + HALF_TILE <= stride:
        indirect_row_sum_half(delta, stride, column, outs, weight, position, start, stop, _ZERO, out, offset + column)
        column += HALF_TILE
    while column < stride:
        indirect_row_sum_padding(
            delta, stride, column, outs, weight, position, start, stop, _ZERO, out, offset + column
        )
        column += PADDING


@njit(inline="always")
def apply_derivative(record, scale, negative_factor, row, out):
    """Multiply a row of deltas by the derivative of activation and dropout that ``record`` tells."""
    for column in range(out.shape[1]):
        state = record[row, column]
        factor = scale if state == POSITIVE else (negative_factor if state == NEGATIVE else _ZERO)
        out[row, column] *= factor


@njit(parallel=True, cache=True, nogil=True)
def backward(indptr, outs, position, weight, delta, record, slope, scale, bounds, out):
    """``out = (W^T delta) * f'``, where ``f'`` is read from the record of the layer below.

    Parameters
    ----------
    indptr : int64[n_in + 1]
        Transposed index: where each input neuron's connections start.
    outs : int32[nnz]
        Transposed index: the output neuron of each connection.
    position : int32[nnz] or int64[nnz]
        Transposed index: where the connection's weight is.
    weight : float32[nnz]
    delta : float32[n_out, stride]
        Derivative of the loss by this layer's weighted sums; 0 in the columns beyond the batch.
    record : uint8[n_in, stride]
        What :func:`hpc_sparse.kernels.forward.forward_train` recorded for the layer below.
    slope, scale : float32
        The layer below's slope and dropout factor.
    bounds : int64[n_blocks + 1]
        Blocks of input neurons that are computed independently.
    out : float32[n_in, stride]
        Overwritten with the derivative of the loss by the weighted sums of the layer below.
    """
    negative_factor = slope * scale
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            transposed_row(delta, outs, position, weight, indptr[row], indptr[row + 1], out, row)
            apply_derivative(record, scale, negative_factor, row, out)


@njit(parallel=True, cache=True, nogil=True)
def backward_and_gradient(
    indptr, outs, position, weight, delta, source, record, slope, scale, bounds, out, transposed_gradient
):
    """:func:`backward` and the gradient of every connection in one pass, for batches of exactly TILE columns.

    Parameters
    ----------
    indptr, outs, position, weight, delta, record, slope, scale, bounds, out
        As in :func:`backward`, with a row stride of TILE.
    source : float32[n_in, TILE]
        The layer's inputs.
    transposed_gradient : float32[nnz]
        Overwritten, in the order of the transposed index.
    """
    negative_factor = slope * scale
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            offset = row * TILE
            row_sum_and_dots(
                delta,
                outs,
                position,
                weight,
                indptr[row],
                indptr[row + 1],
                source,
                offset,
                out,
                offset,
                transposed_gradient,
            )
            apply_derivative(record, scale, negative_factor, row, out)
