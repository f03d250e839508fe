"""Rows of incoming connections whose sources are in part on other ranks, and rows of activations that travel."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.simd.columns import width_at
from hpc_sparse.kernels.simd.prefetch import distance_of
from hpc_sparse.kernels.simd.row_loops import more_row_dots, row_dots
from hpc_sparse.kernels.sparse.gradient import descend


@njit(cache=True, nogil=True)
def cut_rows(indptr, indices, first, stop, low, high):
    """Where the connections from sources ``first`` to ``stop`` of each row begin and end.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    indices : int32[nnz]
        Increasing within a row.
    first, stop : int
    low, high : int32[n_out], or int64
        Overwritten.
    """
    for row in range(indptr.size - 1):
        k, end = indptr[row], indptr[row + 1]
        while k < end and indices[k] < first:
            k += 1
        low[row] = k
        while k < end and indices[k] < stop:
            k += 1
        high[row] = k


@njit(cache=True, nogil=True)
def group_by_owner(indptr, indices, ranges, starts, positions, rows):
    """Group connections by the part that owns their source, by counting sort.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    indices : int32[nnz]
        Local numbers of sources.
    ranges : int64[n_parts + 1]
        Local numbers of the sources of each part: where they begin.
    starts : int64[n_parts + 1]
        Where the connections of each part begin.
    positions : int64[nnz]
        Where each connection is, increasing within a part.
    rows : int32[nnz]
        Its row. The last three are overwritten.
    """
    n_parts = ranges.size - 1
    starts[:] = 0
    for row in range(indptr.size - 1):
        part = 0  # sources increase within a row
        for k in range(indptr[row], indptr[row + 1]):
            while ranges[part + 1] <= indices[k]:
                part += 1
            starts[part + 1] += 1
    for part in range(n_parts):
        starts[part + 1] += starts[part]
    for row in range(indptr.size - 1):
        part = 0
        for k in range(indptr[row], indptr[row + 1]):
            while ranges[part + 1] <= indices[k]:
                part += 1
            positions[starts[part]] = k
            rows[starts[part]] = row
            starts[part] += 1
    for part in range(n_parts, 0, -1):
        starts[part] = starts[part - 1]
    starts[0] = 0


@njit(parallel=True, cache=True, nogil=True)
def remote_gradients(indptr, low, high, indices, delta, source, bounds, width, gradients):
    """Gradient at each connection from a source of another rank; those from own sources stay.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    low, high : int32[n_out], or int64
        The connections of a row from own sources: see :func:`cut_rows`.
    indices : int32[nnz]
    delta : float32[n_out * n_columns] in tiles, or bfloat16 as uint16
        Derivative of the mean loss by the weighted sums; 0 in the columns beyond the batch.
    source : float32[n_sources * n_columns] in tiles, or bfloat16 as uint16
        Activations of all sources; finite in the columns beyond the batch.
    bounds : int64[n_blocks + 1]
        Row blocks that are computed independently.
    width : int
        Of the tiles.
    gradients : float32[n_parts, nnz]
        One part for each tile, or one for all, in which tiles are added in ascending order. Overwritten where the
        source is remote, to the bits of the kernels in :mod:`hpc_sparse.kernels.sparse.gradient`.
    """
    n_out, last = indptr.size - 1, indices.size - 1
    n_columns = delta.size // n_out
    n_in = source.size // n_columns
    is_apart = gradients.shape[0] > 1
    for block in prange(bounds.size - 1):
        column, tile = 0, 0
        while column < n_columns:
            own = width_at(column, n_columns, width)
            distance = distance_of(n_in * own * source.itemsize)
            out = gradients[tile if is_apart else 0]
            for row in range(bounds[block], bounds[block + 1]):
                offset = column * n_out + row * own
                connections = source, column * n_in, indices
                before = np.int64(indptr[row]), np.int64(low[row]), last, distance
                behind = np.int64(high[row]), np.int64(indptr[row + 1]), last, distance
                if is_apart or column == 0:
                    row_dots(own, *connections, *before, delta, offset, out, 0)
                    row_dots(own, *connections, *behind, delta, offset, out, 0)
                else:
                    more_row_dots(own, *connections, *before, delta, offset, out, 0)
                    more_row_dots(own, *connections, *behind, delta, offset, out, 0)
            column += own
            tile += 1


@njit(parallel=True, cache=True, nogil=True)
def pack_rows(values, rows, width, out):
    """Copy some rows of a tile one after the other.

    Parameters
    ----------
    values : float32[n_rows * width], or bfloat16 as uint16
    rows : int32[n]
    width : int
        Columns of the tile.
    out : float32[n * width], or uint16
        Overwritten.
    """
    for i in prange(rows.size):
        at, start = np.int64(rows[i]) * width, i * width
        for column in range(width):
            out[start + column] = values[at + column]


@njit(parallel=True, cache=True, nogil=True)
def descend_mirrors(gradients, first, learning_rate, momentum, decay, is_nesterov, weight, velocity):
    """The step of SGD with momentum of the weights from ``first`` on, to the bits of those that they mirror.

    Parameters
    ----------
    gradients : float32[n_parts, n]
        Parts that are added in their order.
    first : int
    learning_rate, momentum : float32
    decay : float32
        Learning rate x weight decay.
    is_nesterov : bool
    weight, velocity : float32[n]
        Updated in place.
    """
    for i in prange(first, weight.size):
        total = gradients[0, i]
        for part in range(1, gradients.shape[0]):
            total += gradients[part, i]
        descend(weight, velocity, i, total, learning_rate, momentum, decay, is_nesterov)
