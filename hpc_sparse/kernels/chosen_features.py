"""Assembling a batch of sparse samples for a network that has only some of the input neurons left."""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_sparse.kernels.simd.columns import tile_of


@njit(cache=True, nogil=True)
def scatter_chosen(indptr, indices, values, row_of, chosen, n_inputs, width, out):
    """Write the stored features that have a row into it; ``row_of`` int32[n_features] is -1 for the others.

    The rest of ``out``, float32[n_inputs * n_columns] in tiles, must be 0; ``chosen`` int64[n_batch] are the samples.
    """
    n_columns = out.size // n_inputs
    for c in range(chosen.size):
        sample = chosen[c]
        tile, stride = tile_of(c, n_columns, width)
        base = tile * n_inputs + c - tile
        for k in range(indptr[sample], indptr[sample + 1]):
            row = row_of[indices[k]]
            if row >= 0:
                out[base + row * stride] = values[k]


@njit(cache=True, nogil=True)
def clear_chosen(indptr, indices, row_of, chosen, n_inputs, width, out):
    """Undo :func:`scatter_chosen`: set what it wrote back to 0, at the cost of the stored features only."""
    n_columns = out.size // n_inputs
    for c in range(chosen.size):
        sample = chosen[c]
        tile, stride = tile_of(c, n_columns, width)
        base = tile * n_inputs + c - tile
        for k in range(indptr[sample], indptr[sample + 1]):
            row = row_of[indices[k]]
            if row >= 0:
                out[base + row * stride] = np.float32(0)
