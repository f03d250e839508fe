"""Finding the largest gradients of a layer, a tile at a time, among positions that hold no connection."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

TAKEN = np.float32(-1)
"""Score of a position where nothing may grow; all others are >= 0."""


@njit(parallel=True, cache=True, nogil=True)
def score_tile(indptr, indices, is_kept, rows, place, scores):
    """Turn gradients into scores: their absolute values, 0 for what is no number, TAKEN where a connection is kept.

    Parameters
    ----------
    indptr, indices : int32[n_out + 1] (int64 beyond 2^31 connections), int32[nnz]
    is_kept : bool[nnz]
    rows : int64[n_rows]
        Output neuron of each row of the tile.
    place : int64[n_in]
        Column of each input neuron; those beyond the tile are left out.
    scores : float32[at least n_rows, n_columns]
        Changed in place.
    """
    for r in prange(rows.size):
        for c in range(scores.shape[1]):
            size = abs(scores[r, c])
            scores[r, c] = size if size >= 0 else np.float32(0)
        for k in range(indptr[rows[r]], indptr[rows[r] + 1]):
            if is_kept[k] and place[indices[k]] < scores.shape[1]:
                scores[r, place[indices[k]]] = TAKEN


@njit(cache=True, nogil=True)
def collect(scores, row_keys, columns, first, limit, n, best_scores, best_keys):
    """Add the positions whose scores reach a limit to a list, until it is full.

    Parameters
    ----------
    scores : float32[at least n_rows, at least n_columns]
    row_keys : int64[n_rows]
        Key of each row's first position.
    columns : int64[n_columns]
        Input neuron of each column.
    first : int
        Where to begin, in a count through the rows.
    limit : float32
        Not negative.
    n : int
        Length of the list so far.
    best_scores, best_keys : float32[capacity], int64[capacity]
        The list; changed in place.

    Returns
    -------
    n : int
    next : int
        Where to go on once the list has room again; the number of positions if all have been looked at.
    """
    row, column = first // columns.size, first % columns.size
    while row < row_keys.size:
        while column < columns.size:
            if scores[row, column] >= limit:
                if n == best_scores.size:
                    return n, row * columns.size + column
                best_scores[n] = scores[row, column]
                best_keys[n] = row_keys[row] + columns[column]
                n += 1
            column += 1
        row, column = row + 1, 0
    return n, row_keys.size * columns.size
