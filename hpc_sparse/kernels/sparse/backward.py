"""Backward pass of one layer: from the deltas of its outputs to those of its inputs.

The kernels work on the transposed index (connections grouped by input neuron). Every input neuron's sum is then one
pass with its accumulators in registers, and no two threads share a row.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.simd.activation import BLOCK, WORDS, differentiate
from hpc_sparse.kernels.simd.columns import n_tiles_of, nth_tile, width_at
from hpc_sparse.kernels.simd.prefetch import distance_of
from hpc_sparse.kernels.simd.row_loops import (
    indirect_row_sum,
    indirect_row_sum_and_dots,
    row_sum_and_dots,
    row_sum_and_more_dots,
)
from hpc_sparse.kernels.simd.row_ranges import bytes_of_value, n_rows, tile_base


@njit(inline="always")
def apply_derivative(record, slope, scale, offset, width, out):
    """Multiply a row of deltas from ``offset`` on by the derivative of activation and dropout that ``record`` tells."""
    for column in range(offset, offset + width, BLOCK):
        differentiate(out, column, slope, scale, record, column // BLOCK * WORDS)


@njit(parallel=True, cache=True, nogil=True)
def backward(indptr, outs, position, weight, delta, record, slope, scale, bounds, width, out):
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
    delta : float32[n_out * n_columns] in tiles, or RowRanges
        Derivative of the loss by this layer's weighted sums; 0 in the columns beyond the batch.
    record : uint16[n_in * n_columns * WORDS / BLOCK] in tiles
        What :func:`hpc_sparse.kernels.sparse.forward.forward_train` recorded for the layer below; empty for a layer
        that applies its own derivative: ``f'`` is then 1.
    slope, scale : float32
        The layer below's slope and dropout factor.
    bounds : int64[n_blocks + 1]
        Blocks of input neurons that are computed independently.
    width : int
        Of the tiles.
    out : float32[n_in * n_columns] in tiles
        Overwritten with the derivative of the loss by the weighted sums of the layer below.
    """
    n_in, n_blocks, last = indptr.size - 1, bounds.size - 1, outs.size - 1
    n_columns = out.size // n_in
    n_out = n_rows(delta, n_columns)
    for work in prange(n_tiles_of(n_columns, width) * n_blocks):
        column, own = nth_tile(work // n_blocks, n_columns, width)
        distance = distance_of(n_out * own * bytes_of_value(delta))
        block = work % n_blocks
        for row in range(bounds[block], bounds[block + 1]):
            offset, start, stop = column * n_in + row * own, np.int64(indptr[row]), np.int64(indptr[row + 1])
            base = tile_base(delta, column, n_columns)
            connections = delta, base, outs, position, weight, start, stop, last, distance
            indirect_row_sum(own, *connections, out, offset)
            if record.size:
                apply_derivative(record, slope, scale, offset, own, out)


@njit(parallel=True, cache=True, nogil=True)
def backward_and_gradient(
    indptr, outs, position, weight, delta, source, record, slope, scale, bounds, out, weight_gradient
):
    """:func:`backward` and the gradient of every connection in one pass over the rows of deltas, for a single tile.

    Parameters
    ----------
    indptr, outs, position, weight, delta, record, slope, scale, bounds, out
        As in :func:`backward`; ``out`` may be ``source``, whose activations nobody needs any more.
    source : float32[n_in * n_columns] in tiles
        The layer's inputs; finite in the columns beyond the batch.
    weight_gradient : float32[nnz]
        Overwritten, in the order of the weights.
    """
    n_in, last = indptr.size - 1, outs.size - 1
    own = out.size // n_in
    distance = distance_of(n_rows(delta, own) * own * bytes_of_value(delta))
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            offset, start, stop = row * own, np.int64(indptr[row]), np.int64(indptr[row + 1])
            connections = delta, tile_base(delta, 0, own), outs, position, weight, start, stop, last, distance
            derivative = record, offset // BLOCK * WORDS, slope, scale
            indirect_row_sum_and_dots(own, *connections, source, offset, *derivative, out, weight_gradient)


@njit(parallel=True, cache=True, nogil=True)
def backward_and_gradient_of_tiles(
    indptr,
    outs,
    position,
    weight,
    delta,
    source,
    record,
    slope,
    scale,
    bounds,
    n_parts,
    width,
    out,
    transposed,
    weight_gradient,
):
    """:func:`backward_and_gradient` for several tiles: their gradients are added in ascending order.

    Weights are needed, and gradients added to, once per tile. They are therefore brought into the transposed order, in
    which they are a stream, and back.

    Parameters
    ----------
    indptr, outs, position, weight, delta, source, record, slope, scale, bounds, out, weight_gradient
        As in :func:`backward_and_gradient`.
    n_parts : int
        Of the rows, each of which is computed tile after tile: as many as there are threads.
    width : int
        Of the tiles.
    transposed : float32[2, nnz]
        Overwritten: room for weights and gradients in the transposed order. ``weight_gradient`` may be its first row.
    """
    n_in, n_blocks, last = indptr.size - 1, bounds.size - 1, outs.size - 1
    n_columns = out.size // n_in
    n_out = n_rows(delta, n_columns)
    weights, gradients = transposed[0], transposed[1]
    for part in prange(n_parts):
        first, stop_block = n_blocks * part // n_parts, n_blocks * (part + 1) // n_parts
        for k in range(indptr[bounds[first]], indptr[bounds[stop_block]]):
            weights[k] = weight[position[k]]
        column = 0
        while column < n_columns:
            own = width_at(column, n_columns, width)
            distance = distance_of(n_out * own * bytes_of_value(delta))
            for row in range(bounds[first], bounds[stop_block]):
                offset, start, stop = column * n_in + row * own, np.int64(indptr[row]), np.int64(indptr[row + 1])
                base = tile_base(delta, column, n_columns)
                connections = delta, base, outs, position, weights, start, stop, last, distance
                derivative = record, offset // BLOCK * WORDS, slope, scale
                if column == 0:
                    row_sum_and_dots(own, *connections, source, offset, *derivative, out, gradients)
                else:
                    row_sum_and_more_dots(own, *connections, source, offset, *derivative, out, gradients)
            column += own
    for block in prange(n_blocks):
        for k in range(indptr[bounds[block]], indptr[bounds[block + 1]]):
            weight_gradient[position[k]] = gradients[k]


@njit(parallel=True, cache=True, nogil=True)
def backward_and_gradient_by_tile(
    indptr, outs, position, weight, delta, source, record, slope, scale, bounds, width, out, gradients
):
    """:func:`backward_and_gradient` for several tiles, each with gradients of its own.

    A thread computes whole tiles, or few of them, as it does in :func:`~hpc_sparse.kernels.sparse.forward.forward`:
    what it reads at random then lies in the cache of its own core.

    Parameters
    ----------
    indptr, outs, position, weight, delta, source, record, slope, scale, bounds, width, out
        As in :func:`backward_and_gradient_of_tiles`.
    gradients : float32[n_tiles, nnz]
        Overwritten, in the order of the weights.
    """
    n_in, n_blocks, last = indptr.size - 1, bounds.size - 1, outs.size - 1
    n_columns = out.size // n_in
    n_out = n_rows(delta, n_columns)
    for work in prange(gradients.shape[0] * n_blocks):
        tile, block = work // n_blocks, work % n_blocks
        column, own = nth_tile(tile, n_columns, width)
        distance, found = distance_of(n_out * own * bytes_of_value(delta)), gradients[tile]
        for row in range(bounds[block], bounds[block + 1]):
            offset, start, stop = column * n_in + row * own, np.int64(indptr[row]), np.int64(indptr[row + 1])
            base = tile_base(delta, column, n_columns)
            connections = delta, base, outs, position, weight, start, stop, last, distance
            derivative = record, offset // BLOCK * WORDS, slope, scale
            indirect_row_sum_and_dots(own, *connections, source, offset, *derivative, out, found)
