"""Link prediction on a layer's bipartite graph: how well paths of length three connect two neurons without a link."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

NO_PATH = np.float32(-1)
"""Score of a pair of neurons that is linked, or that no path of length three connects."""


@njit(inline="always")
def _count_common(first, starts, ends, other_starts, other_ends, counts, touched):
    """For each neuron of one side, how many neighbours it has in common with ``first``, of the same side.

    Returns
    -------
    int
        How many such neurons there are; they are in ``touched``, and ``counts`` is 0 for all others.
    """
    n = 0
    for k in range(starts[first], starts[first + 1]):
        middle = ends[k]
        for m in range(other_starts[middle], other_starts[middle + 1]):
            other = other_ends[m]
            if counts[other] == 0:
                touched[n] = other
                n += 1
            counts[other] += 1
    return n


@njit(inline="always")
def _external(n_neighbours, n_common):
    """1 / neighbours that are not shared, at least 1: a node with few links elsewhere speaks for its community."""
    return 1.0 / max(n_neighbours - n_common, 1)


@njit(parallel=True, cache=True, nogil=True)
def score_rows(indptr, indices, by_input, outs, first_row, n_rows, scores):
    """CH3-L3 scores, node form, of all pairs of some output neurons with all input neurons.

    With the links M (inputs x outputs), the neighbours that two inputs i, k share C_ik = (M M^T)_ik and
    E_ik = 1 / max(degree_k - C_ik, 1) where C_ik > 0, the score of i and an output is that of E M, plus the same with
    the sides exchanged (Zhang et al. 2024; Muscoloni, Michieli, Cannistraci 2020). O(paths of length three).

    Parameters
    ----------
    indptr, indices : int64[n_out + 1], int32[nnz]
    by_input, outs : int64[n_in + 1], int32[nnz]
        The same links grouped by input neuron.
    first_row, n_rows : int
    scores : float32[at least n_rows, n_in]
        Overwritten; NO_PATH where there is nothing to grow.
    """
    n_out, n_in = indptr.size - 1, by_input.size - 1
    for r in prange(n_rows):
        row = first_row + r
        totals, counts, touched = (
            np.zeros(n_in),
            np.zeros(max(n_in, n_out), np.int32),
            np.empty(max(n_in, n_out), np.int32),
        )
        for k in range(indptr[row], indptr[row + 1]):
            near = indices[k]
            n = _count_common(near, by_input, outs, indptr, indices, counts, touched)
            n_links = by_input[near + 1] - by_input[near]
            for t in range(n):
                other = touched[t]
                totals[other] += _external(n_links, counts[other])
                counts[other] = 0
        n = _count_common(row, indptr, indices, by_input, outs, counts, touched)
        for t in range(n):
            other = touched[t]
            share = _external(indptr[other + 1] - indptr[other], counts[other])
            counts[other] = 0
            for k in range(indptr[other], indptr[other + 1]):
                totals[indices[k]] += share
        for k in range(indptr[row], indptr[row + 1]):
            totals[indices[k]] = 0.0
        for column in range(n_in):
            scores[r, column] = totals[column] if totals[column] > 0.0 else NO_PATH
