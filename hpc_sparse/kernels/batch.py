"""Assembling a batch: chosen samples (rows) become neuron-major columns in tiles."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.simd.columns import tile_of
from hpc_sparse.kernels.simd.dense_tiles import standardized_tile
from hpc_sparse.kernels.simd.machine import LANES


@njit(parallel=True, cache=True, nogil=True)
def gather_dense(features, chosen, shift, scale, width, out):
    """``out[j, c] = (features[chosen[c], j] - shift[j]) * scale[j]``; 0 in the columns beyond the batch.

    Parameters
    ----------
    features : uint8[n_samples, n_features] or float32[n_samples, n_features]
    chosen : int64[n_batch]
    shift, scale : float32[n_features]
    width : int
        Of the tiles.
    out : float32[n_features * n_columns] in tiles
        Overwritten.
    """
    n_batch, n_features = chosen.size, features.shape[1]
    n_columns = out.size // n_features
    n_tiled = n_features - n_features % LANES
    for block in prange(n_columns // LANES):
        first = block * LANES
        tile, stride = tile_of(first, n_columns, width)
        base = tile * n_features + first - tile
        if first + LANES <= n_batch:
            for j in range(0, n_tiled, LANES):
                standardized_tile(features, n_features, chosen, first, j, shift, scale, out, base + j * stride, stride)
            _gather_scalars(features, chosen, shift, scale, first, n_tiled, base, stride, out)
        else:
            _gather_scalars(features, chosen, shift, scale, first, 0, base, stride, out)


@njit(inline="always")
def _gather_scalars(features, chosen, shift, scale, first, first_feature, base, stride, out):
    """One block of columns, from ``first_feature`` on, without vectors."""
    last = max(first, min(first + LANES, chosen.size))
    for j in range(first_feature, features.shape[1]):
        place = base + j * stride - first
        for c in range(first, last):
            out[place + c] = (np.float32(features[chosen[c], j]) - shift[j]) * scale[j]
        for c in range(last, first + LANES):
            out[place + c] = np.float32(0)


@njit(cache=True, nogil=True)
def scatter_csr(indptr, indices, values, chosen, n_features, width, out):
    """Write the stored features of the ``chosen`` samples (int64[n_batch]) into ``out``, whose rest must be 0."""
    n_columns = out.size // n_features
    for c in range(chosen.size):
        sample = chosen[c]
        tile, stride = tile_of(c, n_columns, width)
        base = tile * n_features + c - tile
        for k in range(indptr[sample], indptr[sample + 1]):
            out[base + indices[k] * stride] = values[k]


@njit(cache=True, nogil=True)
def clear_csr(indptr, indices, chosen, n_features, width, out):
    """Undo :func:`scatter_csr`: set what it wrote back to 0, at the cost of the stored features only."""
    n_columns = out.size // n_features
    for c in range(chosen.size):
        sample = chosen[c]
        tile, stride = tile_of(c, n_columns, width)
        base = tile * n_features + c - tile
        for k in range(indptr[sample], indptr[sample + 1]):
            out[base + indices[k] * stride] = np.float32(0)
