"""Forward pass of one layer for a single sample: a number per neuron, no vectors of samples."""

from __future__ import annotations

import numpy as np
from numba import njit

ROWS = np.uint64(4)
"""Neurons whose sums run side by side: the next sum need not wait for the addition before it."""


@njit(inline="always")
def _rest_of_sum(indices, weight, source, total, k, stop):
    """``total`` plus the terms of the connections from ``k`` on; rounded once per connection, as in all passes."""
    while k < stop:
        total += weight[k] * source[np.uint32(indices[k])]
        k += np.uint64(1)
    return total


@njit(inline="always")
def _activated(total, slope):
    return total if total >= 0 else slope * total


@njit(cache=True, nogil=True, fastmath={"contract"})
def forward_sample(indptr, indices, weight, bias, source, slope, out):
    """The pass of :func:`hpc_sparse.kernels.sparse.forward.forward` for one sample, to the bit; one thread.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    indices : int32[nnz]
    weight : float32[nnz]
    bias : float32[n_out]
    source : float32[n_in]
    slope : float32
    out : float32[n_out]
        Overwritten.
    """
    n_out, row = np.uint64(out.size), np.uint64(0)
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    while row + ROWS <= n_out:
        i, j, k = np.uint64(indptr[row]), np.uint64(indptr[row + one]), np.uint64(indptr[row + two])
        m, end = np.uint64(indptr[row + three]), np.uint64(indptr[row + ROWS])
        n_common = min(j - i, k - j, m - k, end - m)
        a, b, c, d = bias[row], bias[row + one], bias[row + two], bias[row + three]
        for step in range(n_common):
            a += weight[i + step] * source[np.uint32(indices[i + step])]
            b += weight[j + step] * source[np.uint32(indices[j + step])]
            c += weight[k + step] * source[np.uint32(indices[k + step])]
            d += weight[m + step] * source[np.uint32(indices[m + step])]
        out[row] = _activated(_rest_of_sum(indices, weight, source, a, i + n_common, j), slope)
        out[row + one] = _activated(_rest_of_sum(indices, weight, source, b, j + n_common, k), slope)
        out[row + two] = _activated(_rest_of_sum(indices, weight, source, c, k + n_common, m), slope)
        out[row + three] = _activated(_rest_of_sum(indices, weight, source, d, m + n_common, end), slope)
        row += ROWS
    while row < n_out:
        start, stop = np.uint64(indptr[row]), np.uint64(indptr[row + one])
        out[row] = _activated(_rest_of_sum(indices, weight, source, bias[row], start, stop), slope)
        row += one
