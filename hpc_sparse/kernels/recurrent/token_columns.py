"""Products of a sparse map with tokens: a token is an input of 1 among inputs of 0, and so takes one column of the map.

Columns are given as in a compressed sparse column matrix: ``rows`` of each weight in ``indptr[token]`` to
``indptr[token + 1]``, and its ``position`` among the weights. A token of -1 stands for no input at all.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.simd.columns import n_tiles_of, nth_tile
from hpc_sparse.kernels.simd.machine import PADDING


@njit(parallel=True, cache=True, nogil=True)
def add_columns(indptr, rows, position, weight, bias, tokens, layout, out):
    """``out[:, c] = bias + W[:, tokens[c]]``.

    Parameters
    ----------
    indptr : int64[n_tokens + 1]
    rows, position : int32[n]
    weight : float32[n]
    bias : float32[n_rows]
    tokens : int32[n_columns]
        -1 for none.
    layout : int
        Of the tiles.
    out : float32[n_rows * n_columns] in tiles
        Overwritten.
    """
    n_columns, n_rows = tokens.size, bias.size
    for number in prange(n_tiles_of(n_columns, layout)):
        first, own = nth_tile(number, n_columns, layout)
        base = first * n_rows
        for i in range(n_rows):
            start, value = base + i * own, bias[i]
            for c in range(own):
                out[start + c] = value
        for c in range(own):
            token = tokens[first + c]
            if token >= 0:
                for k in range(indptr[token], indptr[token + 1]):
                    out[base + rows[k] * own + c] += weight[position[k]]


@njit(parallel=True, cache=True, nogil=True)
def columns_gradient(indptr, rows, position, tokens, delta, n_rows, layout, n_bands, gradient):
    """Gradient of the weights: ``gradient[position[k]]`` is the sum of ``delta[rows[k], c]`` where k's token is read.

    Each of ``n_bands`` bands of rows goes through all columns in their order, so that the sums do not depend on how
    many bands there are.

    Parameters
    ----------
    indptr, rows, position, tokens, layout
        As of :func:`add_columns`; rows increase within a column.
    delta : float32[n_rows * n_columns] in tiles
    n_rows, n_bands : int
    gradient : float32[n]
        Overwritten.
    """
    n_columns, n_tokens = tokens.size, indptr.size - 1
    gradient[:] = 0
    n_tiles = n_tiles_of(n_columns, layout)
    for band in prange(n_bands):
        least, most = band * n_rows // n_bands, (band + 1) * n_rows // n_bands
        starts, stops = np.empty(n_tokens, np.int64), np.empty(n_tokens, np.int64)
        for token in range(n_tokens):
            own_rows = rows[indptr[token] : indptr[token + 1]]
            starts[token] = indptr[token] + np.searchsorted(own_rows, least)
            stops[token] = indptr[token] + np.searchsorted(own_rows, most)
        for number in range(n_tiles):
            first, own = nth_tile(number, n_columns, layout)
            base = first * n_rows
            for c in range(own):
                token = tokens[first + c]
                if token >= 0:
                    for k in range(starts[token], stops[token]):
                        gradient[position[k]] += delta[base + rows[k] * own + c]


@njit(parallel=True, cache=True, nogil=True)
def row_sums(delta, n_rows, layout, sums):
    """Sum of each row of ``delta`` (float32[n_rows * n_columns] in tiles) over all columns, into float32[n_rows]."""
    n_columns = delta.size // n_rows
    n_tiles = n_tiles_of(n_columns, layout)
    for i in prange(n_rows):
        lanes = np.zeros(PADDING, np.float32)
        for number in range(n_tiles):
            first, own = nth_tile(number, n_columns, layout)
            start = first * n_rows + i * own
            for block in range(start, start + own, PADDING):
                for lane in range(PADDING):
                    lanes[lane] += delta[block + lane]
        total = np.float32(0)
        for lane in range(PADDING):
            total += lanes[lane]
        sums[i] = total


@njit(parallel=True, cache=True, nogil=True)
def sums_by_token(tokens, delta, n_rows, n_tokens, layout, sums):
    """``sums[i * n_tokens + t]``: sum of ``delta[i, c]`` over the columns c with token t, any gradient."""
    n_columns = tokens.size
    n_tiles = n_tiles_of(n_columns, layout)
    for i in prange(n_rows):
        own_sums = sums[i * n_tokens : (i + 1) * n_tokens]
        own_sums[:] = 0
        for number in range(n_tiles):
            first, own = nth_tile(number, n_columns, layout)
            start = first * n_rows + i * own
            for c in range(own):
                token = tokens[first + c]
                if token >= 0:
                    own_sums[token] += delta[start + c]
