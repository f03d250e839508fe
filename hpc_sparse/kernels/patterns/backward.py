"""Backward pass over connections in groups of inputs: as :mod:`hpc_sparse.kernels.sparse.backward`, to the bit.

The transposed index numbers output neurons by bytes within groups of 256. Another byte per connection is its number
among the connections of its output neuron to the group of its input: the place of its weight follows from both.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.patterns.expansion import (
    OVERRUN,
    PANEL,
    distance_in_groups,
    expand_columns,
    expand_outs,
    panel_stop,
)
from hpc_sparse.kernels.simd.activation import BLOCK, WORDS
from hpc_sparse.kernels.simd.columns import n_tiles_of, nth_tile, width_at
from hpc_sparse.kernels.simd.row_loops import (
    indirect_row_sum,
    indirect_row_sum_and_dots,
    row_sum_and_dots,
    row_sum_and_more_dots,
)
from hpc_sparse.kernels.sparse.backward import apply_derivative


@njit(parallel=True, cache=True, nogil=True)
def backward(outs, slots, counts, starts, n, m, fan_in, weight, delta, record, slope, scale, bounds, width, out):
    """``out = (W^T delta) * f'``, where ``f'`` is read from the record of the layer below.

    Parameters
    ----------
    outs : uint8[nnz]
        Number of each connection's output neuron within its group; input neuron by input neuron.
    slots : uint8[nnz]
        Number of the connection among those of its output neuron to the same group of inputs.
    counts : uint16[n_in * n_groups]
        Connections of each input neuron to each group of output neurons.
    starts : int32[n_in + 1], or int64 beyond 2^31 connections
        Where each input neuron's connections start.
    n, m, fan_in : int
        The pattern, and the connections of an output neuron.
    weight, delta, record, slope, scale, bounds, width, out
        As in :func:`hpc_sparse.kernels.sparse.backward.backward`.
    """
    n_in, n_blocks = starts.size - 1, bounds.size - 1
    n_columns = out.size // n_in
    n_out = delta.size // n_columns
    room = PANEL + n_out + OVERRUN
    for work in prange(n_tiles_of(n_columns, width) * n_blocks):
        column, own = nth_tile(work // n_blocks, n_columns, width)
        distance = distance_in_groups(n_out * own * delta.itemsize)
        found, places = np.empty(room, np.int32), np.empty(room, starts.dtype)
        first, end = bounds[work % n_blocks], bounds[work % n_blocks + 1]
        while first < end:
            stop = panel_stop(starts, first, end)
            expand_columns(outs, slots, counts, starts, n, m, fan_in, first, stop, found, places)
            begin = np.int64(starts[first])
            last = starts[stop] - begin - 1
            for row in range(first, stop):
                offset, start, end_of_row = column * n_in + row * own, starts[row] - begin, starts[row + 1] - begin
                connections = found, places, weight, start, end_of_row, last, distance
                indirect_row_sum(own, delta, column * n_out, *connections, out, offset)
                if record.size:
                    apply_derivative(record, slope, scale, offset, own, out)
            first = stop


@njit(parallel=True, cache=True, nogil=True)
def backward_and_gradient(
    outs,
    slots,
    counts,
    starts,
    n,
    m,
    fan_in,
    weight,
    delta,
    source,
    record,
    slope,
    scale,
    bounds,
    out,
    weight_gradient,
):
    """:func:`backward` and the gradient of every connection in one pass over the rows of deltas, for a single tile.

    Parameters
    ----------
    outs, slots, counts, starts, n, m, fan_in, weight, delta, record, slope, scale, bounds, out
        As in :func:`backward`; ``out`` may be ``source``, whose activations nobody needs any more.
    source : float32[n_in * n_columns] in tiles
        The layer's inputs; finite in the columns beyond the batch.
    weight_gradient : float32[nnz]
        Overwritten, in the order of the weights.
    """
    n_in = starts.size - 1
    own = out.size // n_in
    n_out = delta.size // own
    room = PANEL + n_out + OVERRUN
    distance = distance_in_groups(delta.nbytes)
    for block in prange(bounds.size - 1):
        found, places = np.empty(room, np.int32), np.empty(room, starts.dtype)
        first, end = bounds[block], bounds[block + 1]
        while first < end:
            stop = panel_stop(starts, first, end)
            expand_columns(outs, slots, counts, starts, n, m, fan_in, first, stop, found, places)
            begin = np.int64(starts[first])
            last = starts[stop] - begin - 1
            for row in range(first, stop):
                offset, start, end_of_row = row * own, starts[row] - begin, starts[row + 1] - begin
                connections = delta, 0, found, places, weight, start, end_of_row, last, distance
                derivative = record, offset // BLOCK * WORDS, slope, scale
                indirect_row_sum_and_dots(own, *connections, source, offset, *derivative, out, weight_gradient)
            first = stop


@njit(parallel=True, cache=True, nogil=True)
def bring_weights(outs, slots, counts, starts, n, m, fan_in, bounds, weight, found):
    """``found`` float32[nnz]: the weights in the order of the transposed index; others as in :func:`backward`."""
    room = PANEL + weight.size // fan_in + OVERRUN
    for block in prange(bounds.size - 1):
        neurons, places = np.empty(room, np.int32), np.empty(room, starts.dtype)
        first, end = bounds[block], bounds[block + 1]
        while first < end:
            stop = panel_stop(starts, first, end)
            expand_columns(outs, slots, counts, starts, n, m, fan_in, first, stop, neurons, places)
            begin = starts[first]
            for k in range(starts[stop] - begin):
                found[begin + k] = weight[places[k]]
            first = stop


@njit(parallel=True, cache=True, nogil=True)
def bring_back(outs, slots, counts, starts, n, m, fan_in, bounds, values, found):
    """``found`` float32[nnz]: ``values`` of the transposed order in that of the weights; the reverse way."""
    room = PANEL + found.size // fan_in + OVERRUN
    for block in prange(bounds.size - 1):
        neurons, places = np.empty(room, np.int32), np.empty(room, starts.dtype)
        first, end = bounds[block], bounds[block + 1]
        while first < end:
            stop = panel_stop(starts, first, end)
            expand_columns(outs, slots, counts, starts, n, m, fan_in, first, stop, neurons, places)
            begin = starts[first]
            for k in range(starts[stop] - begin):
                found[places[k]] = values[begin + k]
            first = stop


@njit(parallel=True, cache=True, nogil=True)
def backward_and_gradient_of_tiles(
    outs,
    counts,
    starts,
    weights,
    delta,
    source,
    record,
    slope,
    scale,
    bounds,
    n_parts,
    width,
    out,
    gradients,
):
    """:func:`backward_and_gradient` for several tiles: their gradients are added in ascending order.

    Parameters
    ----------
    outs, counts, starts, delta, source, record, slope, scale, bounds, out
        As in :func:`backward_and_gradient`.
    weights, gradients : float32[nnz]
        In the order of the transposed index (:func:`bring_weights`, :func:`bring_back`); the gradients are overwritten.
    n_parts : int
        Of the rows, each of which is computed tile after tile: as many as there are threads.
    width : int
        Of the tiles.
    """
    n_in, n_blocks = starts.size - 1, bounds.size - 1
    n_columns = out.size // n_in
    n_out = delta.size // n_columns
    room = PANEL + n_out + OVERRUN
    for part in prange(n_parts):
        found = np.empty(room, np.int32)
        begin_row, end = bounds[n_blocks * part // n_parts], bounds[n_blocks * (part + 1) // n_parts]
        column = 0
        while column < n_columns:
            own = width_at(column, n_columns, width)
            distance = distance_in_groups(n_out * own * delta.itemsize)
            first = begin_row
            while first < end:
                stop = panel_stop(starts, first, end)
                expand_outs(outs, counts, starts, first, stop, found)
                begin = np.int64(starts[first])
                last, panel_weights, panel_dots = starts[stop] - begin - 1, weights[begin:], gradients[begin:]
                for row in range(first, stop):
                    offset, start, end_of_row = column * n_in + row * own, starts[row] - begin, starts[row + 1] - begin
                    connections = delta, column * n_out, found, found, panel_weights, start, end_of_row, last, distance
                    derivative = record, offset // BLOCK * WORDS, slope, scale
                    if column == 0:
                        row_sum_and_dots(own, *connections, source, offset, *derivative, out, panel_dots)
                    else:
                        row_sum_and_more_dots(own, *connections, source, offset, *derivative, out, panel_dots)
                first = stop
            column += own
