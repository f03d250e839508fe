"""Connections whose sources are in part on other ranks: their gradients, and rows of activations that travel."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.sparse.gradient import descend


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
def count_by_owner(indptr, indices, ranges, bounds, counts):
    """Count the connections of each row block by the part that owns their source.

    Parameters
    ----------
    indptr, indices, ranges
        As of :func:`group_by_owner`.
    bounds : int64[n_blocks + 1]
        Row blocks.
    counts : int64[n_parts, n_blocks]
        Overwritten.
    """
    for block in prange(bounds.size - 1):
        counts[:, block] = 0
        for row in range(bounds[block], bounds[block + 1]):
            part = 0
            for k in range(indptr[row], indptr[row + 1]):
                while ranges[part + 1] <= indices[k]:
                    part += 1
                counts[part, block] += 1


@njit(parallel=True, cache=True, nogil=True)
def accept_by_owner(indptr, indices, ranges, own, bounds, starts, received, gradients):
    """Put the gradients that the owners of remote sources have sent where their connections are.

    Parameters
    ----------
    indptr, indices, ranges, bounds
        As of :func:`count_by_owner`.
    own : int
        The part that is here: gradients of connections from its sources stay.
    starts : int64[n_parts, n_blocks]
        Where in ``received`` those of each part and row block begin.
    received : float32[n]
        Part after part, in the order of the connections.
    gradients : float32[n_tiles, at least nnz]
        Overwritten where the source is remote, so that the sum over its first axis is what was received.
    """
    for block in prange(bounds.size - 1):
        at = starts[:, block].copy()
        for row in range(bounds[block], bounds[block + 1]):
            part = 0
            for k in range(indptr[row], indptr[row + 1]):
                while ranges[part + 1] <= indices[k]:
                    part += 1
                if part != own:
                    gradients[0, k] = received[at[part]]
                    at[part] += 1
                    for tile in range(1, gradients.shape[0]):
                        gradients[tile, k] = -0.0  # added to any number, it is that number


@njit(parallel=True, cache=True, nogil=True)
def add_tiles(gradients, first):
    """Add the gradients of all tiles from number ``first`` on, in the order of the tiles, to those of the first one.

    Parameters
    ----------
    gradients : float32[n_tiles, n]
    first : int
    """
    for i in prange(first, gradients.shape[1]):
        for tile in range(1, gradients.shape[0]):
            gradients[0, i] += gradients[tile, i]


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
def descend_mirrors(gradient, learning_rate, momentum, decay, is_nesterov, weight, velocity):
    """The step of SGD with momentum of mirrored weights, to the bits of those that they mirror.

    Parameters
    ----------
    gradient : float32[n]
    learning_rate, momentum : float32
    decay : float32
        Learning rate x weight decay.
    is_nesterov : bool
    weight, velocity : float32[n]
        Updated in place.
    """
    for i in prange(weight.size):
        descend(weight, velocity, i, gradient[i], learning_rate, momentum, decay, is_nesterov)
