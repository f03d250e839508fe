"""Link prediction on a layer's bipartite graph: how well paths of length three connect two neurons without a link."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.hashing import counted_unit

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


@njit(inline="always")
def _add_by_inputs(start, stop, indptr, indices, by_input, outs, counts, touched, totals):
    """E M of the rows from ``start`` to ``stop``: each row of E counted once, for all outputs that need it."""
    shares = np.empty(by_input.size - 1)
    for near in range(by_input.size - 1):
        linked = outs[by_input[near] : by_input[near + 1]]
        inside = linked[np.searchsorted(linked, start) : np.searchsorted(linked, stop)]
        if inside.size == 0:
            continue
        n = _count_common(near, by_input, outs, indptr, indices, counts, touched)
        for t in range(n):
            shares[t] = _external(linked.size, counts[touched[t]])
            counts[touched[t]] = 0
        for row in inside:
            for t in range(n):
                totals[row - start, touched[t]] += shares[t]


@njit(inline="always")
def _add_by_output(row, indptr, indices, by_input, outs, counts, touched, totals):
    """The same with the sides exchanged, of one row."""
    n = _count_common(row, indptr, indices, by_input, outs, counts, touched)
    for t in range(n):
        other = touched[t]
        share = _external(indptr[other + 1] - indptr[other], counts[other])
        counts[other] = 0
        for k in range(indptr[other], indptr[other + 1]):
            totals[indices[k]] += share


@njit(parallel=True, cache=True, nogil=True)
def score_rows(indptr, indices, by_input, outs, first_row, n_rows, n_blocks, totals, scores):
    """CH3-L3 scores, node form, of all pairs of some output neurons with all input neurons.

    M is the 0/1 matrix of links (inputs x outputs). C = M M^T counts the neighbours that two inputs share, and
    E_ik = 1 / max(degree_k - C_ik, 1) where C_ik > 0, else 0. The score is E M plus the same with the sides exchanged
    (Zhang et al. 2024; Muscoloni, Michieli, Cannistraci 2020).

    Each block computes a row of E once for all its outputs: O(n_in d^2) per block, plus at most O(n_in) per link.

    Parameters
    ----------
    indptr, indices : int32[n_out + 1] (int64 beyond 2^31 connections), int32[nnz]
    by_input, outs : int32[n_in + 1] (int64 beyond 2^31 connections), int32[nnz]
        The same links grouped by input neuron, outputs increasing.
    first_row, n_rows : int
    n_blocks : int
        Number of blocks into which the rows are divided among threads; the scores do not depend on it.
    totals : float64[at least n_rows, n_in]
        To work in.
    scores : float32[at least n_rows, n_in]
        Overwritten; NO_PATH where there is nothing to grow.
    """
    n_out, n_in = indptr.size - 1, by_input.size - 1
    for block in prange(n_blocks):
        start, stop = first_row + n_rows * block // n_blocks, first_row + n_rows * (block + 1) // n_blocks
        counts, touched = np.zeros(max(n_in, n_out), np.int32), np.empty(max(n_in, n_out), np.int32)
        own = totals[start - first_row : stop - first_row]
        own[:] = 0.0
        _add_by_inputs(start, stop, indptr, indices, by_input, outs, counts, touched, own)
        for row in range(start, stop):
            sums = own[row - start]
            _add_by_output(row, indptr, indices, by_input, outs, counts, touched, sums)
            for k in range(indptr[row], indptr[row + 1]):
                sums[indices[k]] = 0.0
            for column in range(n_in):
                scores[row - first_row, column] = sums[column] if sums[column] > 0.0 else NO_PATH


@njit(inline="always")
def _add_paths(row, indptr, indices, by_input, outs, around, near, counts, touched, shares, totals):
    """Scores of the paths of length three from an output neuron to all inputs."""
    n_near = _count_common(row, indptr, indices, by_input, outs, around, near)
    for k in range(indptr[row], indptr[row + 1]):
        first = indices[k]
        degree = by_input[first + 1] - by_input[first]
        n = _count_common(first, by_input, outs, indptr, indices, counts, touched)
        for t in range(n):
            shares[touched[t]] = 1.0 / math.sqrt(max(degree - counts[touched[t]], 1))
            counts[touched[t]] = 0
        for m in range(by_input[first], by_input[first + 1]):
            second = outs[m]
            if second == row:
                continue
            share = 1.0 / math.sqrt(max(indptr[second + 1] - indptr[second] - around[second], 1))
            for p in range(indptr[second], indptr[second + 1]):
                totals[indices[p]] += share * shares[indices[p]]
    for t in range(n_near):
        around[near[t]] = 0


@njit(parallel=True, cache=True, nogil=True)
def score_paths(indptr, indices, by_input, outs, first_row, n_rows, n_blocks, totals, scores):
    """CH3-L3 scores, path form, of all pairs of some output neurons with all input neurons.

    A pair (u, v) gets 1 / sqrt((1 + e_a)(1 + e_b)) for each path u - a - b - v. The external degree e_a counts links of
    a that lead neither to u nor to a neighbour of v, and e_b those of b that lead neither to v nor to a neighbour of u
    (Muscoloni, Michieli, Zhang, Cannistraci 2022, preprints 202202.0234).

    O(d^3) per output neuron for neurons with d links. Parameters as of :func:`score_rows`.
    """
    n_out, n_in = indptr.size - 1, by_input.size - 1
    for block in prange(n_blocks):
        start, stop = first_row + n_rows * block // n_blocks, first_row + n_rows * (block + 1) // n_blocks
        around, near = np.zeros(n_out, np.int32), np.empty(n_out, np.int32)
        counts, touched = np.zeros(n_in, np.int32), np.empty(n_in, np.int32)
        shares = np.zeros(n_in)
        for row in range(start, stop):
            sums = totals[row - first_row]
            sums[:] = 0.0
            _add_paths(row, indptr, indices, by_input, outs, around, near, counts, touched, shares, sums)
            for k in range(indptr[row], indptr[row + 1]):
                sums[indices[k]] = 0.0
            for column in range(n_in):
                scores[row - first_row, column] = sums[column] if sums[column] > 0.0 else NO_PATH


@njit(parallel=True, cache=True, nogil=True)
def soften(scores, first_row, n_rows, key):
    """Divide each positive score by an exponential random number that depends on its pair of neurons only.

    The largest of the quotients are then a sample without replacement, with probabilities in proportion to the scores
    (Efraimidis, Spirakis 2006; the same as the largest log score + Gumbel number).

    Parameters
    ----------
    scores : float32[at least n_rows, n_in]
        Changed in place; the others stay.
    first_row, n_rows : int
    key : uint64
        Of the random stream.
    """
    n_in = scores.shape[1]
    for i in prange(n_rows):
        for column in range(n_in):
            if scores[i, column] > 0:
                number = np.uint64(first_row + i) * np.uint64(n_in) + np.uint64(column)
                scores[i, column] /= max(-math.log(counted_unit(key, number)), 1e-30)
