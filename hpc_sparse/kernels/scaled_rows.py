"""Assembling a batch of sparse samples whose features are standardised, at the cost of the stored ones only."""

from __future__ import annotations

from numba import njit

from hpc_sparse.kernels.simd.columns import tile_of


@njit(cache=True, nogil=True)
def scatter_scaled(indptr, indices, values, shift, scale, row_of, chosen, n_inputs, width, out):
    """Write ``(value - shift) * scale`` of the stored features that have a row into it.

    The rest of ``out``, float32[n_inputs * n_columns] in tiles, must be what a feature of 0 becomes. ``shift`` and
    ``scale`` are float32[n_features], ``row_of`` int32[n_features] is -1 for features without a row, ``chosen``
    int64[n_batch] are the samples. The bits are those of dense samples.
    """
    n_columns = out.size // n_inputs
    for c in range(chosen.size):
        sample = chosen[c]
        tile, stride = tile_of(c, n_columns, width)
        base = tile * n_inputs + c - tile
        for k in range(indptr[sample], indptr[sample + 1]):
            feature = indices[k]
            row = row_of[feature]
            if row >= 0:
                out[base + row * stride] = (values[k] - shift[feature]) * scale[feature]


@njit(cache=True, nogil=True)
def clear_scaled(indptr, indices, row_of, absent, chosen, n_inputs, width, out):
    """Undo :func:`scatter_scaled`: ``absent`` float32[n_inputs] is what features of 0 become."""
    n_columns = out.size // n_inputs
    for c in range(chosen.size):
        sample = chosen[c]
        tile, stride = tile_of(c, n_columns, width)
        base = tile * n_inputs + c - tile
        for k in range(indptr[sample], indptr[sample + 1]):
            row = row_of[indices[k]]
            if row >= 0:
                out[base + row * stride] = absent[row]
