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
    for number in prange(n_tiles_of(tokens.size, layout)):
        _add_tile(indptr, rows, position, weight, bias, tokens, layout, np.int64(number), out)


@njit(cache=True, nogil=True)
def _add_tile(indptr, rows, position, weight, bias, tokens, layout, number, out):
    n_rows = bias.size
    first, own = nth_tile(number, tokens.size, layout)
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
    gradient[:] = 0
    for band in prange(n_bands):
        own = np.int64(band)
        least, most = own * n_rows // n_bands, (own + 1) * n_rows // n_bands
        _add_band(indptr, rows, position, tokens, delta, n_rows, layout, least, most, gradient)


@njit(cache=True, nogil=True)
def _add_band(indptr, rows, position, tokens, delta, n_rows, layout, least, most, gradient):
    """The part of the rows from ``least`` to ``most``."""
    n_columns, n_tokens = tokens.size, indptr.size - 1
    starts, stops = np.empty(n_tokens, np.int64), np.empty(n_tokens, np.int64)
    for token in range(n_tokens):
        own_rows = rows[indptr[token] : indptr[token + 1]]
        starts[token] = indptr[token] + np.searchsorted(own_rows, least)
        stops[token] = indptr[token] + np.searchsorted(own_rows, most)
    for number in range(n_tiles_of(n_columns, layout)):
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
    for i in prange(n_rows):
        sums[i] = _row_sum(delta, np.int64(i), n_rows, layout)


@njit(cache=True, nogil=True)
def _row_sum(delta, row, n_rows, layout):
    n_columns = delta.size // n_rows
    lanes = np.zeros(PADDING, np.float32)
    for number in range(n_tiles_of(n_columns, layout)):
        first, own = nth_tile(number, n_columns, layout)
        start = first * n_rows + row * own
        for block in range(start, start + own, PADDING):
            for lane in range(PADDING):
                lanes[lane] += delta[block + lane]
    return lanes.sum()


@njit(parallel=True, cache=True, nogil=True)
def sums_by_token(tokens, delta, n_rows, n_tokens, layout, sums):
    """``sums[i * n_tokens + t]``: sum of ``delta[i, c]`` over the columns c with token t, any gradient."""
    for i in prange(n_rows):
        _add_by_token(tokens, delta, np.int64(i), n_rows, layout, sums[i * n_tokens : (i + 1) * n_tokens])


@njit(cache=True, nogil=True)
def _add_by_token(tokens, delta, row, n_rows, layout, sums):
    """The sums of one row."""
    n_columns = tokens.size
    sums[:] = 0
    for number in range(n_tiles_of(n_columns, layout)):
        first, own = nth_tile(number, n_columns, layout)
        start = first * n_rows + row * own
        for c in range(own):
            token = tokens[first + c]
            if token >= 0:
                sums[token] += delta[start + c]
