"""From a list of edges to the rows of an adjacency matrix that one rank owns, in place and without sorting the list."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def first_outside(sources, targets, n_nodes):
    """Position of the first edge int32 or int64[n] with an end that is no node; -1 if there is none."""
    for edge in range(sources.size):
        if sources[edge] < 0 or sources[edge] >= n_nodes or targets[edge] < 0 or targets[edge] >= n_nodes:
            return edge
    return -1


@njit(cache=True, nogil=True)
def count_entries(sources, targets, start, stop, is_mirrored, counts):
    """Add to ``counts`` the entries that edges have in each of the rows ``start:stop``.

    Parameters
    ----------
    sources, targets : int32 or int64[n]
        Ends of the edges; entry (source, target).
    start, stop : int
    is_mirrored : bool
        Whether each edge is an entry in both directions.
    counts : int64[stop - start]
    """
    for edge in range(sources.size):
        source, target = sources[edge], targets[edge]
        if start <= source < stop:
            counts[source - start] += 1
        if is_mirrored and source != target and start <= target < stop:
            counts[target - start] += 1


@njit(cache=True, nogil=True)
def place_entries(sources, targets, weights, start, stop, is_mirrored, place, indices, values):
    """Put the entries that :func:`count_entries` counts into their rows.

    Parameters
    ----------
    sources, targets, start, stop, is_mirrored
        As there.
    weights : float64[n]
        Of the edges; empty for none.
    place : int64[stop - start]
        Where the next entry of each row goes; moved on.
    indices : int32[nnz]
        Overwritten with the columns.
    values : float64[nnz]
        Overwritten with the weights; empty for none.
    """
    for edge in range(sources.size):
        source, target = sources[edge], targets[edge]
        if start <= source < stop:
            at = place[source - start]
            place[source - start] = at + 1
            indices[at] = target
            if values.size:
                values[at] = weights[edge]
        if is_mirrored and source != target and start <= target < stop:
            at = place[target - start]
            place[target - start] = at + 1
            indices[at] = source
            if values.size:
                values[at] = weights[edge]


@njit(parallel=True, cache=True, nogil=True)
def sort_rows(indptr, indices, values):
    """Sort the columns of each row, with their values float64[nnz], or none if that is empty; in place."""
    for row in prange(indptr.size - 1):
        first, last = indptr[row], indptr[row + 1]
        if values.size:
            order = np.argsort(indices[first:last], kind="mergesort")
            indices[first:last] = indices[first:last][order]
            values[first:last] = values[first:last][order]
        else:
            indices[first:last].sort()


@njit(cache=True, nogil=True)
def unite_entries(indptr, indices, values):
    """Leave one of the equal entries of each sorted row, in place; entries of value 0 go.

    Returns
    -------
    int
        Row of two equal entries of different values, which then stays; -1 if there is none.
    """
    n_kept, first = 0, np.int64(0)
    for row in range(indptr.size - 1):
        last, begin = indptr[row + 1], n_kept
        for at in range(first, last):
            if n_kept > begin and indices[n_kept - 1] == indices[at]:
                if values.size and values[n_kept - 1] != values[at]:
                    return row
            elif values.size == 0 or values[at] != 0.0:
                indices[n_kept] = indices[at]
                if values.size:
                    values[n_kept] = values[at]
                n_kept += 1
        first = last
        indptr[row + 1] = n_kept
    return -1


@njit(cache=True, nogil=True)
def drop_diagonal(indptr, indices, values, first_row):
    """Take the entries (i, i) out of rows that begin with number ``first_row``, in place; how many there were."""
    n_kept, first, n_dropped = 0, np.int64(0), 0
    for row in range(indptr.size - 1):
        last = indptr[row + 1]
        for at in range(first, last):
            if indices[at] == first_row + row:
                n_dropped += 1
                continue
            indices[n_kept] = indices[at]
            if values.size:
                values[n_kept] = values[at]
            n_kept += 1
        first = last
        indptr[row + 1] = n_kept
    return n_dropped


@njit(cache=True, nogil=True)
def keep_above(indptr, indices, values, degrees, threshold):
    """Keep the entries a / (d + 1) above a threshold, in place: a the value (1 without), d the degree of the column.

    Parameters
    ----------
    indptr : int64[n_rows + 1]
    indices : int32[nnz]
    values : float64[nnz], or empty
    degrees : float64[n_columns]
    threshold : float

    Returns
    -------
    int
        Entries that are left.
    """
    n_kept, first = 0, np.int64(0)
    for row in range(indptr.size - 1):
        last = indptr[row + 1]
        for at in range(first, last):
            own = values[at] if values.size else 1.0
            if own / (degrees[indices[at]] + 1.0) > threshold:
                indices[n_kept] = indices[at]
                if values.size:
                    values[n_kept] = own
                n_kept += 1
        first = last
        indptr[row + 1] = n_kept
    return n_kept


@njit(cache=True, nogil=True)
def count_equal(indptr, indices, first_row, labels):
    """Entries whose ends have labels int32[n_nodes] >= 0, and those of them whose labels are equal; not (i, i)."""
    n_labelled, n_equal = 0, 0
    for row in range(indptr.size - 1):
        own = labels[first_row + row]
        for at in range(indptr[row], indptr[row + 1]):
            other = labels[indices[at]]
            if own >= 0 and other >= 0 and indices[at] != first_row + row:
                n_labelled += 1
                n_equal += own == other
    return n_labelled, n_equal


@njit(parallel=True, cache=True, nogil=True)
def transition_values(indices, values, degrees, out):
    """``out`` float32 or float64[nnz] = a / (d + 1): a of ``values`` float64[nnz] (1 if empty), d of the column."""
    for at in prange(out.size):
        own = values[at] if values.size else 1.0
        out[at] = own / (degrees[indices[at]] + 1.0)
