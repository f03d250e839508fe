"""Growing connections in groups of inputs: as many in each group as it has lost."""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_sparse.kernels.hashing import counted


@njit(inline="always")
def _kept_of_group(indptr, indices, is_kept, row, begin, stop, k, kept):
    """Collect the inputs from ``begin`` to ``stop`` whose connections stay; their number, and the next connection."""
    n_kept = 0
    while k < indptr[row + 1] and indices[k] < stop:
        if is_kept[k]:
            kept[n_kept] = indices[k] - begin
            n_kept += 1
        k += 1
    return n_kept, k


@njit(cache=True, nogil=True)
def draw_in_groups(indptr, indices, is_kept, n, m, n_in, last_count, key, keys):
    """Draw positions without a kept connection, in each group as many as it lacks, every choice equally likely.

    Parameters
    ----------
    indptr, indices : int32[n_out + 1] (int64 beyond 2^31 connections), int32[nnz]
    is_kept : bool[nnz]
    n, m, n_in, last_count : int
        The pattern, the inputs, and the connections of the last group.
    key : uint64
        Stream of this occasion.
    keys : int64[connections that do not stay]
        Overwritten, increasing.
    """
    n_groups, at = (n_in + m - 1) // m, 0
    kept, drawn = np.empty(m + 1, np.int64), np.empty(m + 1, np.int64)
    for row in range(indptr.size - 1):
        k = np.int64(indptr[row])
        for group in range(n_groups):
            begin, stop = group * m, min(n_in, group * m + m)
            n_kept, k = _kept_of_group(indptr, indices, is_kept, row, begin, stop, k, kept)
            n_wanted = (last_count if group == n_groups - 1 else n) - n_kept
            if n_wanted <= 0:
                continue
            n_free, group_key = stop - begin - n_kept, counted(key, np.uint64(row * n_groups + group))
            for found in range(n_wanted):  # Floyd's algorithm: distinct numbers among the free inputs, in order
                newest = n_free - n_wanted + found
                number = np.int64(counted(group_key, np.uint64(found)) % np.uint64(newest + 1))
                for i in range(found):
                    if drawn[i] == number:
                        number = newest
                        break
                i = found
                while i > 0 and drawn[i - 1] > number:
                    drawn[i] = drawn[i - 1]
                    i -= 1
                drawn[i] = number
            passed = 0
            for found in range(n_wanted):
                while passed < n_kept and kept[passed] <= drawn[found] + passed:
                    passed += 1
                keys[at] = np.int64(row) * n_in + begin + drawn[found] + passed
                at += 1
    return at


@njit(cache=True, nogil=True)
def best_in_groups(indptr, indices, is_kept, n, m, n_in, last_count, scores, first_row, at, keys):
    """Choose the positions of largest |score| without a kept connection, in each group as many as it lacks.

    Among equal scores the first are chosen; what is no number counts as 0.

    Parameters
    ----------
    indptr, indices, is_kept, n, m, n_in, last_count
        As in :func:`draw_in_groups`.
    scores : float32[n_rows, at least n_in]
        Of the rows from ``first_row`` on; those that are chosen are overwritten.
    at : int
        Keys that are there already.
    keys : int64[connections that do not stay]
        Those of the rows are added, increasing.

    Returns
    -------
    int
        Keys that are there now.
    """
    n_groups = (n_in + m - 1) // m
    kept, is_chosen = np.empty(m + 1, np.int64), np.empty(m, np.bool_)
    for row in range(first_row, first_row + scores.shape[0]):
        k = np.int64(indptr[row])
        for group in range(n_groups):
            begin, stop = group * m, min(n_in, group * m + m)
            n_kept, k = _kept_of_group(indptr, indices, is_kept, row, begin, stop, k, kept)
            n_wanted = (last_count if group == n_groups - 1 else n) - n_kept
            if n_wanted <= 0:
                continue
            own = scores[row - first_row, begin:stop]
            for i in range(own.size):
                own[i] = abs(own[i]) if abs(own[i]) >= 0 else np.float32(0)
            for i in range(n_kept):
                own[kept[i]] = -1
            is_chosen[:] = False
            for _ in range(n_wanted):
                best = np.argmax(own)
                is_chosen[best] = True
                own[best] = -1
            for i in range(own.size):
                if is_chosen[i]:
                    keys[at] = np.int64(row) * n_in + begin + i
                    at += 1
    return at
