"""Gradients of connections in groups of inputs: as :mod:`hpc_sparse.kernels.sparse.gradient`, to the bit."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.patterns.expansion import PANEL, distance_in_groups, expand_rows
from hpc_sparse.kernels.simd.columns import width_at
from hpc_sparse.kernels.simd.row_loops import more_row_dots, row_dots
from hpc_sparse.kernels.simd.velocity import part_of
from hpc_sparse.kernels.sparse.gradient import descend, row_total


@njit(parallel=True, cache=True, nogil=True)
def weight_gradients(position, base, delta, source, bounds, n_parts, width, out):
    """Gradient of the loss at each connection; those of several tiles are added in ascending order.

    Parameters
    ----------
    position, base
        As in :func:`hpc_sparse.kernels.patterns.forward.forward`.
    delta, source, bounds, n_parts, width, out
        As in :func:`hpc_sparse.kernels.sparse.gradient.weight_gradients`.
    """
    n_blocks, fan_in = bounds.size - 1, base.size
    n_out = position.size // fan_in
    n_columns = delta.size // n_out
    n_in = source.size // n_columns
    n_rows = max(1, PANEL // fan_in)
    for part in prange(n_parts):
        ins = np.empty(n_rows * fan_in, np.int32)
        begin, stop = bounds[n_blocks * part // n_parts], bounds[n_blocks * (part + 1) // n_parts]
        column = 0
        while column < n_columns:
            own = width_at(column, n_columns, width)
            distance = distance_in_groups(n_in * own * source.itemsize)
            first = begin
            while first < stop:
                n_here = min(n_rows, stop - first)
                expand_rows(position, base, first, n_here, ins)
                last = n_here * fan_in - 1
                for row in range(n_here):
                    start, offset = row * fan_in, column * n_out + (first + row) * own
                    connections = source, column * n_in, ins, start, start + fan_in, last, distance
                    if column == 0:
                        row_dots(own, *connections, delta, offset, out, first * fan_in)
                    else:
                        more_row_dots(own, *connections, delta, offset, out, first * fan_in)
                first += n_here
            column += own


@njit(parallel=True, cache=True, nogil=True)
def gradient_update(
    position,
    base,
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
    """One step of SGD with momentum on a batch of a single tile; no gradient is stored beyond a panel of rows.

    Parameters
    ----------
    position, base
        As in :func:`hpc_sparse.kernels.patterns.forward.forward`.
    delta, source, bounds, width, learning_rate, momentum, decay, is_nesterov, weight, bias, weight_velocity, \
bias_velocity
        As in :func:`hpc_sparse.kernels.sparse.gradient.gradient_update`.
    """
    none, n_out, fan_in = np.float32(0), bias.size, base.size
    own = delta.size // n_out
    n_rows = max(1, PANEL // fan_in)
    distance = distance_in_groups(source.nbytes)
    for block in prange(bounds.size - 1):
        ins, gradients = np.empty(n_rows * fan_in, np.int32), np.empty(n_rows * fan_in, np.float32)
        first, stop = bounds[block], bounds[block + 1]
        while first < stop:
            n_here = min(n_rows, stop - first)
            expand_rows(position, base, first, n_here, ins)
            last = n_here * fan_in - 1
            for row in range(n_here):
                start, number = row * fan_in, first + row
                connections = source, 0, ins, start, start + fan_in, last, distance
                row_dots(own, *connections, delta, number * own, gradients, 0)
                g = row_total(delta, number, n_out, own, width)
                descend(bias, bias_velocity, number, g, learning_rate, momentum, none, is_nesterov)
            begin, end = first * fan_in, (first + n_here) * fan_in
            w, velocity = weight[begin:end], part_of(weight_velocity, begin, end)
            for i in range(end - begin):
                descend(w, velocity, i, gradients[i], learning_rate, momentum, decay, is_nesterov)
            first += n_here


@njit(parallel=True, cache=True, nogil=True)
def update(
    weight_gradient,
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
    weight_gradient : float32[nnz]
    delta, bounds, width, learning_rate, momentum, decay, is_nesterov, weight, bias, weight_velocity, bias_velocity
        As in :func:`gradient_update`.
    """
    none, n_out = np.float32(0), bias.size
    n_columns, fan_in = delta.size // n_out, weight.size // n_out
    for block in prange(bounds.size - 1):
        first, stop = bounds[block], bounds[block + 1]
        for row in range(first, stop):
            g = row_total(delta, row, n_out, n_columns, width)
            descend(bias, bias_velocity, row, g, learning_rate, momentum, none, is_nesterov)
        begin, end = first * fan_in, stop * fan_in
        w, velocity, gradients = weight[begin:end], part_of(weight_velocity, begin, end), weight_gradient[begin:end]
        for i in range(end - begin):
            descend(w, velocity, i, gradients[i], learning_rate, momentum, decay, is_nesterov)
