"""Gradients at the stored connections, alone or fused with the update of SGD with momentum."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.simd.bfloat16 import as_float
from hpc_sparse.kernels.simd.columns import nth_tile, width_at
from hpc_sparse.kernels.simd.prefetch import distance_of
from hpc_sparse.kernels.simd.row_loops import more_row_dots, row_dots
from hpc_sparse.kernels.simd.velocity import keep_velocity, part_of, velocity_at


@njit(fastmath={"reassoc"})
def _sum_of(values):
    """Sum of a row of a tile.

    ``reassoc`` lets the compiler add in vector lanes: the order, and so the rounding, is the machine's, but always
    the same there.
    """
    total = np.float32(0)
    for i in range(values.size):
        total += as_float(values[i])
    return total


@njit(inline="always")
def row_total(delta, row, n_rows, n_columns, width):
    """Sum of a row of deltas, the gradient of the neuron's bias: tile by tile."""
    own = width_at(0, n_columns, width)
    total = _sum_of(delta[row * own : (row + 1) * own])
    column = own
    while column < n_columns:
        own = width_at(column, n_columns, width)
        start = column * n_rows + row * own
        total += _sum_of(delta[start : start + own])
        column += own
    return total


@njit(inline="always")
def descend(values, velocities, i, g, learning_rate, momentum, decay, is_nesterov):
    """Move ``values[i]`` down its gradient ``g``: the formula of :func:`gradient_update`."""
    v = momentum * velocity_at(velocities, i) - learning_rate * g
    keep_velocity(velocities, i, v)
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
def weight_gradients(indptr, indices, delta, source, bounds, n_parts, width, out):
    """Gradient of the loss at each connection; those of several tiles are added in ascending order.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    indices : int32[nnz]
    delta : float32[n_out * n_columns] in tiles
        Derivative of the mean loss by the layer's weighted sums; 0 in the columns beyond the batch.
    source : float32[n_in * n_columns] in tiles
        The layer's inputs; finite in the columns beyond the batch.
    bounds : int64[n_blocks + 1]
        Row blocks that are computed independently.
    n_parts : int
        Of the rows, each of which is computed tile after tile: as many as there are threads.
    width : int
        Of the tiles.
    out : float32[nnz]
        Overwritten.
    """
    n_out, n_blocks, last = indptr.size - 1, bounds.size - 1, indices.size - 1
    n_columns = delta.size // n_out
    n_in = source.size // n_columns
    for part in prange(n_parts):
        first, stop_block = n_blocks * part // n_parts, n_blocks * (part + 1) // n_parts
        column = 0
        while column < n_columns:
            own = width_at(column, n_columns, width)
            distance = distance_of(n_in * own * source.itemsize)
            for row in range(bounds[first], bounds[stop_block]):
                start, stop = np.int64(indptr[row]), np.int64(indptr[row + 1])
                connections = source, column * n_in, indices, start, stop, last, distance
                if column == 0:
                    row_dots(own, *connections, delta, row * own, out, 0)
                else:
                    more_row_dots(own, *connections, delta, column * n_out + row * own, out, 0)
            column += own


@njit(parallel=True, cache=True, nogil=True)
def weight_gradients_by_tile(indptr, indices, delta, source, bounds, width, gradients):
    """:func:`weight_gradients` of each tile, float32[n_tiles, nnz]; a thread computes whole tiles, or few of them."""
    n_out, n_blocks, last = indptr.size - 1, bounds.size - 1, indices.size - 1
    n_columns = delta.size // n_out
    n_in = source.size // n_columns
    for work in prange(gradients.shape[0] * n_blocks):
        tile, block = work // n_blocks, work % n_blocks
        column, own = nth_tile(tile, n_columns, width)
        distance, found = distance_of(n_in * own * source.itemsize), gradients[tile]
        for row in range(bounds[block], bounds[block + 1]):
            start, stop = np.int64(indptr[row]), np.int64(indptr[row + 1])
            connections = source, column * n_in, indices, start, stop, last, distance
            row_dots(own, *connections, delta, column * n_out + row * own, found, 0)


@njit(parallel=True, cache=True, nogil=True)
def bias_gradients(delta, bounds, width, out):
    """Gradient of the loss at each bias, float32[n_out]; other arguments as in :func:`weight_gradients`."""
    n_columns = delta.size // out.size
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            out[row] = row_total(delta, row, out.size, n_columns, width)


@njit(parallel=True, cache=True, nogil=True)
def gradient_update(
    indptr,
    indices,
    delta,
    source,
    bounds,
    width,
    learning_rate,
    momentum,
    decay,
    is_nesterov,
    weight,
    bias,
    weight_velocity,
    bias_velocity,
):
    """One step of SGD with momentum on a batch of a single tile; no gradient is stored beyond a block of rows.

    ``v = momentum * v - learning_rate * g``, then ``w += v - decay * w``. With Nesterov's correction,
    ``w += momentum * v - learning_rate * g - decay * w`` instead. Biases are not decayed.

    Parameters
    ----------
    indptr, indices, delta, source, bounds, width
        As in :func:`weight_gradients`.
    learning_rate, momentum : float32
    decay : float32
        Learning rate x weight decay.
    is_nesterov : bool
    weight : float32[nnz]
    weight_velocity : float32[nnz] or RoundedVelocity
    bias, bias_velocity : float32[n_out]
        Updated in place.
    """
    none, n_out, final = np.float32(0), bias.size, indices.size - 1
    own = delta.size // n_out
    largest = largest_block(indptr, bounds)
    distance = distance_of(source.nbytes)
    for block in prange(bounds.size - 1):
        first, last = bounds[block], bounds[block + 1]
        start, stop = np.int64(indptr[first]), np.int64(indptr[last])  # to 64 bits once, not at every use
        block_gradient = np.empty(largest, np.float32)
        row_stop = start
        for row in range(first, last):
            row_start, row_stop = row_stop, np.int64(indptr[row + 1])
            connections = source, 0, indices, row_start, row_stop, final, distance
            row_dots(own, *connections, delta, row * own, block_gradient, -start)
            g = row_total(delta, row, n_out, own, width)
            descend(bias, bias_velocity, row, g, learning_rate, momentum, none, is_nesterov)
        w, velocity = weight[start:stop], part_of(weight_velocity, start, stop)
        for i in range(stop - start):
            descend(w, velocity, i, block_gradient[i], learning_rate, momentum, decay, is_nesterov)


@njit(parallel=True, cache=True, nogil=True)
def update(
    indptr,
    gradients,
    delta,
    bounds,
    width,
    learning_rate,
    momentum,
    decay,
    is_nesterov,
    weight,
    bias,
    weight_velocity,
    bias_velocity,
):
    """The update of :func:`gradient_update` from gradients that are there already, of any number of tiles.

    Parameters
    ----------
    gradients : float32[n, nnz]
        Parts that are added in their order; the first is overwritten with the sum.
    indptr, delta, bounds, width, learning_rate, momentum, decay, is_nesterov, weight, bias, weight_velocity, \
bias_velocity
        As in :func:`gradient_update`.
    """
    none, n_out = np.float32(0), bias.size
    n_columns = delta.size // n_out
    for block in prange(bounds.size - 1):
        first, last = bounds[block], bounds[block + 1]
        start, stop = indptr[first], indptr[last]
        for row in range(first, last):
            g = row_total(delta, row, n_out, n_columns, width)
            descend(bias, bias_velocity, row, g, learning_rate, momentum, none, is_nesterov)
        w, velocity, total = weight[start:stop], part_of(weight_velocity, start, stop), gradients[0, start:stop]
        for part in range(1, gradients.shape[0]):
            added = gradients[part, start:stop]
            for i in range(stop - start):
                total[i] += added[i]
        for i in range(stop - start):
            descend(w, velocity, i, total[i], learning_rate, momentum, decay, is_nesterov)
