"""Assembling a batch: chosen samples (rows) become neuron-major columns."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.simd.row_loops import LANES
from hpc_sparse.kernels.simd.tiles import standardized_tile


@njit(parallel=True, cache=True, nogil=True)
def gather_dense(features, chosen, shift, scale, out):
    """``out[j, c] = (features[chosen[c], j] - shift[j]) * scale[j]``; 0 in the columns beyond the batch.

    Parameters
    ----------
    features : uint8[n_samples, n_features] or float32[n_samples, n_features]
    chosen : int64[n_batch]
    shift, scale : float32[n_features]
    out : float32[n_features, stride]
        Overwritten.
    """
    n_batch, n_features, stride = chosen.size, features.shape[1], out.shape[1]
    n_tiled = n_features - n_features % LANES
    for block in prange(stride // LANES):
        first = block * LANES
        if first + LANES <= n_batch:
            for j in range(0, n_tiled, LANES):
                offset = j * stride + first
                standardized_tile(features, n_features, chosen, first, j, shift, scale, out, offset, stride)
            _gather_scalars(features, chosen, shift, scale, first, n_tiled, out)
        else:
            _gather_scalars(features, chosen, shift, scale, first, 0, out)


@njit(inline="always")
def _gather_scalars(features, chosen, shift, scale, first, first_feature, out):
    """One block of columns, from ``first_feature`` on, without vectors."""
    last = max(first, min(first + LANES, chosen.size))
    for j in range(first_feature, features.shape[1]):
        for c in range(first, last):
            out[j, c] = (np.float32(features[chosen[c], j]) - shift[j]) * scale[j]
        for c in range(last, first + LANES):
            out[j, c] = np.float32(0)


@njit(cache=True, nogil=True)
def scatter_csr(indptr, indices, values, chosen, out):
    """Write the stored features of the ``chosen`` samples (int64[n_batch]) into ``out``, whose rest must be 0."""
    for c in range(chosen.size):
        sample = chosen[c]
        for k in range(indptr[sample], indptr[sample + 1]):
            out[indices[k], c] = values[k]


@njit(cache=True, nogil=True)
def clear_csr(indptr, indices, chosen, out):
    """Undo :func:`scatter_csr`: set what it wrote back to 0, at the cost of the stored features only."""
    for c in range(chosen.size):
        sample = chosen[c]
        for k in range(indptr[sample], indptr[sample + 1]):
            out[indices[k], c] = np.float32(0)
