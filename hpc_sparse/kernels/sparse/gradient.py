"""Gradients at the stored connections, alone or fused with the update of SGD with momentum."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.simd.bfloat16 import as_float
from hpc_sparse.kernels.simd.prefetch import connections_ahead, prefetch_rows
from hpc_sparse.kernels.simd.row_loops import GROUP, group_dots, half_group_dots, pair_dots, single_dot

HALF_GROUP = GROUP // 2


@njit(inline="always")
def row_gradient(indices, delta, source, start, stop, row, out, out_start):
    """``out[out_start + k - start] = sum_c delta[row, c] * source[indices[k], c]`` for ``start <= k < stop``."""
    stride = delta.shape[1]
    own = row * stride
    shift = out_start - start
    k = start
    while k + GROUP <= stop:
        group_dots(delta, own, stride, source, indices, k, out, k + shift)
        k += GROUP
    if k + HALF_GROUP <= stop:
        half_group_dots(delta, own, stride, source, indices, k, out, k + shift)
        k += HALF_GROUP
    if k + 2 <= stop:
        pair_dots(delta, own, stride, source, indices, k, out, k + shift)
        k += 2
    if k < stop:
        single_dot(delta, own, stride, source, indices, k, out, k + shift)


@njit(fastmath={"reassoc"})
def row_total(delta, row):
    """Sum of a row of deltas, the gradient of the neuron's bias.

    ``reassoc`` lets the compiler add in vector lanes: the order, and so the rounding, is the machine's, but always
    the same there.
    """
    total = np.float32(0)
    for column in range(delta.shape[1]):
        total += as_float(delta[row, column])
    return total


@njit(inline="always")
def descend(values, velocities, i, g, learning_rate, momentum, decay, is_nesterov):
    """Move ``values[i]`` down its gradient ``g``: the formula of :func:`gradient_update`."""
    v = momentum * velocities[i] - learning_rate * g
    velocities[i] = v
    step = momentum * v - learning_rate * g if is_nesterov else v
    values[i] += step - decay * values[i]


@njit(inline="always")
def largest_block(indptr, bounds):
    """Connections of the largest block of rows.

    A buffer of this size serves every block, so that the compiler allocates it once per thread and not in the loop.
    """
    largest = 0
    for block in range(bounds.size - 1):
        largest = max(largest, indptr[bounds[block + 1]] - indptr[bounds[block]])
    return largest


@njit(parallel=True, cache=True, nogil=True)
def weight_gradients(indptr, indices, delta, source, bounds, out):
    """Gradient of the loss at each connection.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    indices : int32[nnz]
    delta : float32[n_out, stride]
        Derivative of the mean loss by the layer's weighted sums; 0 in the columns beyond the batch.
    source : float32[n_in, stride]
        The layer's inputs; finite in the columns beyond the batch.
    bounds : int64[n_blocks + 1]
        Row blocks that are computed independently.
    out : float32[nnz]
        Overwritten.
    """
    ahead = connections_ahead(source)
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            prefetch_rows(source, indices, indptr[row], indptr[row + 1], ahead)
            row_gradient(indices, delta, source, indptr[row], indptr[row + 1], row, out, indptr[row])


@njit(parallel=True, cache=True, nogil=True)
def bias_gradients(delta, bounds, out):
    """Gradient of the loss at each bias, float32[n_out]; other arguments as in :func:`weight_gradients`."""
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            out[row] = row_total(delta, row)


@njit(parallel=True, cache=True, nogil=True)
def gradient_update(
    indptr,
    indices,
    delta,
    source,
    bounds,
    learning_rate,
    momentum,
    decay,
    is_nesterov,
    weight,
    bias,
    weight_velocity,
    bias_velocity,
):
    """One step of SGD with momentum; no gradient is stored beyond a block of rows.

    ``v = momentum * v - learning_rate * g``, then ``w += v - decay * w``. With Nesterov's correction,
    ``w += momentum * v - learning_rate * g - decay * w`` instead. Biases are not decayed.

    Parameters
    ----------
    indptr, indices, delta, source, bounds
        As in :func:`weight_gradients`.
    learning_rate, momentum : float32
    decay : float32
        Learning rate x weight decay.
    is_nesterov : bool
    weight, weight_velocity : float32[nnz]
    bias, bias_velocity : float32[n_out]
        Updated in place.
    """
    none = np.float32(0)
    largest = largest_block(indptr, bounds)
    ahead = connections_ahead(source)
    for block in prange(bounds.size - 1):
        first, last = bounds[block], bounds[block + 1]
        start, stop = np.int64(indptr[first]), np.int64(indptr[last])  # to 64 bits once, not at every use
        block_gradient = np.empty(largest, np.float32)
        row_stop = start
        for row in range(first, last):
            row_start, row_stop = row_stop, np.int64(indptr[row + 1])
            prefetch_rows(source, indices, row_start, row_stop, ahead)
            row_gradient(indices, delta, source, row_start, row_stop, row, block_gradient, row_start - start)
            g = row_total(delta, row)
            descend(bias, bias_velocity, row, g, learning_rate, momentum, none, is_nesterov)
        w, velocity = weight[start:stop], weight_velocity[start:stop]
        for i in range(stop - start):
            descend(w, velocity, i, block_gradient[i], learning_rate, momentum, decay, is_nesterov)


@njit(parallel=True, cache=True, nogil=True)
def update(
    indptr,
    weight_gradient,
    delta,
    bounds,
    learning_rate,
    momentum,
    decay,
    is_nesterov,
    weight,
    bias,
    weight_velocity,
    bias_velocity,
):
    """The update of :func:`gradient_update` from gradients that are there already.

    Parameters
    ----------
    weight_gradient : float32[nnz]
    indptr, delta, bounds, learning_rate, momentum, decay, is_nesterov, weight, bias, weight_velocity, bias_velocity
        As in :func:`gradient_update`.
    """
    none = np.float32(0)
    for block in prange(bounds.size - 1):
        first, last = bounds[block], bounds[block + 1]
        start, stop = indptr[first], indptr[last]
        for row in range(first, last):
            g = row_total(delta, row)
            descend(bias, bias_velocity, row, g, learning_rate, momentum, none, is_nesterov)
        w, velocity, gradients = weight[start:stop], weight_velocity[start:stop], weight_gradient[start:stop]
        for i in range(stop - start):
            descend(w, velocity, i, gradients[i], learning_rate, momentum, decay, is_nesterov)
