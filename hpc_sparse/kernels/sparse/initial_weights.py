"""Initial weights: a hash of the stream and the connection's key, so any rank or thread draws the same."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.hashing import counted_unit

_SECOND = np.uint64(1) << np.uint64(63)


@njit(parallel=True, cache=True, nogil=True)
def fill_uniform(indptr, indices, old_position, first_row, n_in, row_bound, key, bounds, weight):
    """``weight[k] ~ U(-row_bound, row_bound)`` where ``old_position[k] < 0``; other weights stay.

    Parameters
    ----------
    indptr, indices : int32[n_out + 1] (int64 beyond 2^31 connections), int32[nnz]
    old_position : int64[nnz]
    first_row : int64
        Number of the first neuron here among all of its layer.
    n_in : int
    row_bound : float64[n_out]
    key : uint64
    bounds : int64[n_blocks + 1]
        Row blocks that are computed independently.
    weight : float32[nnz]
    """
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            for k in range(indptr[row], indptr[row + 1]):
                if old_position[k] < 0:
                    unit = counted_unit(key, np.uint64((first_row + row) * n_in + indices[k]))
                    weight[k] = (2.0 * unit - 1.0) * row_bound[row]


@njit(parallel=True, cache=True, nogil=True)
def fill_normal(indptr, indices, old_position, first_row, n_in, deviation, key, bounds, weight):
    """``weight[k] ~ N(0, deviation^2)`` (Box and Muller 1958); arguments as in :func:`fill_uniform`."""
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            for k in range(indptr[row], indptr[row + 1]):
                if old_position[k] < 0:
                    counter = np.uint64((first_row + row) * n_in + indices[k])
                    radius = math.sqrt(-2.0 * math.log(counted_unit(key, counter)))
                    weight[k] = deviation * radius * math.cos(2.0 * math.pi * counted_unit(key, counter ^ _SECOND))
