"""Gradients at the stored connections, alone or fused with the update of SGD with momentum."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.simd import GROUP, group_dots, half_group_dots, single_dot

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
    while k < stop:
        single_dot(delta, own, stride, source, indices, k, out, k + shift)
        k += 1


@njit(fastmath={"reassoc"})
def row_total(delta, row):
    """Sum of a row of deltas, the gradient of the neuron's bias.

    ``reassoc`` lets the compiler add in vector lanes: the order, and so the rounding, is the machine's, but always
    the same there.
    """
    total = np.float32(0)
    for column in range(delta.shape[1]):
        total += delta[row, column]
    return total


@njit(parallel=True, cache=True, nogil=True)
def gradient(indptr, indices, delta, source, bounds, weight_gradient, bias_gradient):
    """Gradient of the loss at each connection and bias.

    Parameters
    ----------
    indptr : int64[n_out + 1]
    indices : int32[nnz]
    delta : float32[n_out, stride]
        Derivative of the mean loss by the layer's weighted sums; 0 in the columns beyond the batch.
    source : float32[n_in, stride]
        The layer's inputs; finite in the columns beyond the batch.
    bounds : int64[n_blocks + 1]
        Row blocks that are computed independently.
    weight_gradient : float32[nnz]
    bias_gradient : float32[n_out]
        Both overwritten.
    """
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            row_gradient(indices, delta, source, indptr[row], indptr[row + 1], row, weight_gradient, indptr[row])
            bias_gradient[row] = row_total(delta, row)


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

    ``v = momentum * v - learning_rate * g``, then ``w += v - decay * w``, or with Nesterov's correction
    ``w += momentum * v - learning_rate * g - decay * w``. Biases are not decayed.

    Parameters
    ----------
    indptr, indices, delta, source, bounds
        As in :func:`gradient`.
    learning_rate, momentum : float32
    decay : float32
        Learning rate x weight decay.
    is_nesterov : bool
    weight, weight_velocity : float32[nnz]
    bias, bias_velocity : float32[n_out]
        Updated in place.
    """
    one = np.float32(1)
    v_factor, g_factor = (momentum, learning_rate) if is_nesterov else (one, np.float32(0))
    for block in prange(bounds.size - 1):
        first, last = bounds[block], bounds[block + 1]
        start, stop = indptr[first], indptr[last]
        block_gradient = np.empty(stop - start, np.float32)
        for row in range(first, last):
            row_gradient(indices, delta, source, indptr[row], indptr[row + 1], row, block_gradient, indptr[row] - start)
            g = row_total(delta, row)
            v = momentum * bias_velocity[row] - learning_rate * g
            bias_velocity[row] = v
            bias[row] += v_factor * v - g_factor * g
        w, velocity = weight[start:stop], weight_velocity[start:stop]
        for i in range(block_gradient.size):
            v = momentum * velocity[i] - learning_rate * block_gradient[i]
            velocity[i] = v
            w[i] += v_factor * v - g_factor * block_gradient[i] - decay * w[i]


@njit(parallel=True, cache=True, nogil=True)
def update(
    indptr,
    place,
    transposed_gradient,
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
    """The update of :func:`gradient_update` from gradients that are there already, grouped by input neuron.

    Parameters
    ----------
    place : int32[nnz] or int64[nnz]
        Where each connection's gradient is.
    transposed_gradient : float32[nnz]
    indptr, delta, bounds, learning_rate, momentum, decay, is_nesterov, weight, bias, weight_velocity, bias_velocity
        As in :func:`gradient_update`.
    """
    one = np.float32(1)
    v_factor, g_factor = (momentum, learning_rate) if is_nesterov else (one, np.float32(0))
    for block in prange(bounds.size - 1):
        first, last = bounds[block], bounds[block + 1]
        start, stop = indptr[first], indptr[last]
        for row in range(first, last):
            g = row_total(delta, row)
            v = momentum * bias_velocity[row] - learning_rate * g
            bias_velocity[row] = v
            bias[row] += v_factor * v - g_factor * g
        w, velocity, where = weight[start:stop], weight_velocity[start:stop], place[start:stop]
        for i in range(where.size):
            g = transposed_gradient[np.uint64(where[i])]
            v = momentum * velocity[i] - learning_rate * g
            velocity[i] = v
            w[i] += v_factor * v - g_factor * g - decay * w[i]
