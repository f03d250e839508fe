"""Weights of blocks: initial ones, their norms, and their places in a matrix of single connections.

In all functions, ``indptr`` int32[n_block_rows + 1] (int64 beyond 2^31 blocks) and ``indices`` int32[n_blocks] say
which blocks exist, ``shape`` is (n_out, n_in) in neurons, ``unit`` (r, c), and ``weight`` float32[n_blocks * r * c].
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.hashing import counted_unit

_SECOND = np.uint64(1) << np.uint64(63)


@njit(parallel=True, cache=True, nogil=True)
def fill_uniform(indptr, indices, old_position, shape, unit, row_bound, key, bounds, weight):
    """``weight ~ U(-row_bound, row_bound)`` in blocks whose ``old_position`` is -1; other weights stay.

    A weight depends on its neurons, as in :mod:`hpc_sparse.kernels.sparse.initial_weights`; beyond the layer it is 0.

    Parameters
    ----------
    indptr, indices, shape, unit, weight
        See the module.
    old_position : int64[n_blocks]
    row_bound : float64[n_out]
    key : uint64
    bounds : int64[n + 1]
        Ranges of block rows that are computed independently.
    """
    (n_out, n_in), (r, c) = shape, unit
    for part in prange(bounds.size - 1):
        for block_row in range(bounds[part], bounds[part + 1]):
            for slot in range(indptr[block_row], indptr[block_row + 1]):
                if old_position[slot] >= 0:
                    continue
                for a in range(r):
                    for k in range(c):
                        row, column, value = block_row * r + a, indices[slot] * c + k, np.float32(0)
                        if row < n_out and column < n_in:
                            drawn = counted_unit(key, np.uint64(row * n_in + column))
                            value = np.float32((2.0 * drawn - 1.0) * row_bound[row])
                        weight[(np.int64(slot) * r + a) * c + k] = value


@njit(parallel=True, cache=True, nogil=True)
def fill_normal(indptr, indices, old_position, shape, unit, deviation, key, bounds, weight):
    """``weight ~ N(0, deviation^2)`` (Box and Muller 1958); arguments as in :func:`fill_uniform`."""
    (n_out, n_in), (r, c) = shape, unit
    for part in prange(bounds.size - 1):
        for block_row in range(bounds[part], bounds[part + 1]):
            for slot in range(indptr[block_row], indptr[block_row + 1]):
                if old_position[slot] >= 0:
                    continue
                for a in range(r):
                    for k in range(c):
                        row, column, value = block_row * r + a, indices[slot] * c + k, np.float32(0)
                        if row < n_out and column < n_in:
                            counter = np.uint64(row * n_in + column)
                            radius = math.sqrt(-2.0 * math.log(counted_unit(key, counter)))
                            angle = 2.0 * math.pi * counted_unit(key, counter ^ _SECOND)
                            value = np.float32(deviation * radius * math.cos(angle))
                        weight[(np.int64(slot) * r + a) * c + k] = value


@njit(parallel=True, cache=True, nogil=True)
def norms(values):
    """float32[n]: the Euclidean norm of each row of ``values`` float32[n, m], added up in order in float64."""
    out = np.empty(values.shape[0], np.float32)
    for i in prange(values.shape[0]):
        total = 0.0
        for k in range(values.shape[1]):
            total += np.float64(values[i, k]) * np.float64(values[i, k])
        out[i] = math.sqrt(total)
    return out


@njit(parallel=True, cache=True, nogil=True)
def shrink(values, amount):
    """Multiply each row of ``values`` float32[n, m] by ``max(0, 1 - amount / norm of the row)``."""
    for i in prange(values.shape[0]):
        total = 0.0
        for k in range(values.shape[1]):
            total += np.float64(values[i, k]) * np.float64(values[i, k])
        norm = math.sqrt(total)
        factor = np.float32(1.0 - amount / norm) if norm > amount else np.float32(0)
        for k in range(values.shape[1]):
            values[i, k] *= factor


@njit(cache=True, nogil=True)
def fill_pairs(indptr, indices, shape, unit, pair_indptr, pair_indices):
    """The connected neurons below of each neuron, increasing: ``pair_indptr`` int64[n_out + 1], indices int32[n]."""
    (n_out, n_in), (r, c) = shape, unit
    for row in range(n_out):
        at = pair_indptr[row]
        for slot in range(indptr[row // r], indptr[row // r + 1]):
            for column in range(indices[slot] * c, min(n_in, (indices[slot] + 1) * c)):
                pair_indices[at] = column
                at += 1


@njit(cache=True, nogil=True)
def arrange(indptr, indices, shape, unit, pair_indptr, values, arranged):
    """Values of all weights, in their order, into that of the pairs of :func:`fill_pairs`."""
    (n_out, n_in), (r, c) = shape, unit
    for row in range(n_out):
        at = pair_indptr[row]
        for slot in range(indptr[row // r], indptr[row // r + 1]):
            for k in range(min(c, n_in - indices[slot] * c)):
                arranged[at] = values[(np.int64(slot) * r + row % r) * c + k]
                at += 1


@njit(cache=True, nogil=True)
def clear_edges(indptr, indices, shape, unit, weight):
    """Set the weights beyond the layer to 0."""
    (n_out, n_in), (r, c) = shape, unit
    for block_row in range(indptr.size - 1):
        for slot in range(indptr[block_row], indptr[block_row + 1]):
            for a in range(r):
                for k in range(c):
                    if block_row * r + a >= n_out or indices[slot] * c + k >= n_in:
                        weight[(np.int64(slot) * r + a) * c + k] = 0
