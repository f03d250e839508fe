"""Gradients of blocks: products of two tiles, summed over their columns."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.block.tile_dots import COLUMNS, ROWS, first_dots, more_dots
from hpc_sparse.kernels.simd.columns import width_at


@njit(parallel=True, cache=True, nogil=True)
def weight_gradients(indptr, indices, unit, n_out, delta, source, bounds, n_parts, width, out):
    """Gradient of the loss at each weight; those of several tiles are added in ascending order.

    Weights beyond the layer, in blocks at its edges, get 0.

    Parameters
    ----------
    indptr : int32[n_block_rows + 1], or int64 beyond 2^31 blocks
    indices : int32[n_blocks]
    unit : (int64, int64)
        (r, c).
    n_out : int
        Neurons.
    delta, source
        As in :func:`hpc_sparse.kernels.sparse.gradient.weight_gradients`.
    bounds : int64[n + 1]
        Ranges of block rows, which are shared out to the parts.
    n_parts : int
        Each is computed tile after tile: as many as there are threads.
    width : int
        Of the tiles.
    out : float32[n_blocks * r * c]
        Overwritten.
    """
    n_ranges, (r, c) = bounds.size - 1, unit
    n_columns = delta.size // n_out
    n_in = source.size // n_columns
    for part in prange(n_parts):
        begin, end = bounds[n_ranges * part // n_parts], bounds[n_ranges * (part + 1) // n_parts]
        column = 0
        while column < n_columns:
            own = width_at(column, n_columns, width)
            for block_row in range(begin, end):
                row = block_row * r
                n_rows = min(r, n_out - row)
                at = column * n_out + row * own
                for k in range(np.int64(indptr[block_row]), np.int64(indptr[block_row + 1])):
                    other = np.int64(indices[k]) * c
                    n_others = min(c, n_in - other)
                    source_at = column * n_in + other * own
                    if column == 0 and n_rows * n_others < r * c:
                        out[k * r * c : (k + 1) * r * c] = 0
                    _block(own, (n_rows, n_others), delta, at, source, source_at, column > 0, out, k * r * c, c)
            column += own


@njit(parallel=True, cache=True, nogil=True)
def absolute_sums(indptr, indices, unit, n_out, delta, source, bounds, width, out):
    """Sum of the absolute gradients of each block, float32[n_blocks], added up in order in float64.

    Other arguments as in :func:`weight_gradients`; the blocks need not exist.
    """
    (r, c), n_columns = unit, delta.size // n_out
    n_in = source.size // n_columns
    for part in prange(bounds.size - 1):
        found = np.zeros(r * c, np.float32)
        for block_row in range(bounds[part], bounds[part + 1]):
            row = block_row * r
            n_rows = min(r, n_out - row)
            for slot in range(np.int64(indptr[block_row]), np.int64(indptr[block_row + 1])):
                other, column = np.int64(indices[slot]) * c, 0
                n_others = min(c, n_in - other)
                if n_rows * n_others < r * c:
                    found[:] = 0
                while column < n_columns:
                    own = width_at(column, n_columns, width)
                    at, source_at = column * n_out + row * own, column * n_in + other * own
                    _block(own, (n_rows, n_others), delta, at, source, source_at, column > 0, found, 0, c)
                    column += own
                total = 0.0
                for i in range(r * c):
                    total += abs(np.float64(found[i]))
                out[slot] = total


@njit(inline="always")
def _block(own, shape, delta, delta_at, source, source_at, adds, out, out_at, step):
    """The dots of a block, some rows and columns at a time."""
    a = 0
    while a < shape[0]:
        left, k = shape[0] - a, 0
        while k < shape[1]:
            right = shape[1] - k
            rows = own, left, right, delta, delta_at + a * own, source, source_at + k * own
            if adds:
                more_dots(*rows, out, out_at + a * step + k, step)
            else:
                first_dots(*rows, out, out_at + a * step + k, step)
            k += COLUMNS if right >= COLUMNS else 1
        a += ROWS if left >= ROWS else 1
