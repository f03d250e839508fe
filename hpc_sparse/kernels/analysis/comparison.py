"""Comparing two topologies connection by connection, and two neurons by the inputs they share."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(inline="always")
def _common(first, second):
    """How many numbers two increasing arrays have in common."""
    i, j, n = 0, 0, 0
    while i < first.size and j < second.size:
        if first[i] == second[j]:
            n += 1
            i += 1
            j += 1
        elif first[i] < second[j]:
            i += 1
        else:
            j += 1
    return n


@njit(inline="always")
def edit_distance(n_first, n_second, n_common):
    """Normalised edit distance of two sets, 1 - Jaccard index: 0 if both are empty; a float32, see the notes below.

    Notes
    -----
    Among assignments of equal cost the rounding of the costs decides; single precision gives the matchings of the
    published values.
    """
    n_any = n_first + n_second - n_common
    return np.float32(n_any - n_common) / np.float32(n_any) if n_any else np.float32(0.0)


@njit(parallel=True, cache=True, nogil=True)
def count_common(indptr, indices, other_indptr, other_indices, partner, out):
    """Connections that each row shares with its partner.

    Parameters
    ----------
    indptr, indices : int32[n_out + 1] (int64 beyond 2^31 connections), int32[nnz]
    other_indptr, other_indices
        The same of the other topology.
    partner : int32[n_out]
        Row of the other topology.
    out : int64[n_out]
        Overwritten.
    """
    for row in prange(out.size):
        other = partner[row]
        own = indices[indptr[row] : indptr[row + 1]]
        out[row] = _common(own, other_indices[other_indptr[other] : other_indptr[other + 1]])


@njit(parallel=True, cache=True, nogil=True)
def fill_distances(indptr, indices, other_indptr, other_by_input, other_outs, out):
    """Distances of every neuron of one layer to every neuron of another.

    Parameters
    ----------
    indptr, indices : int32[n_out + 1] (int64 beyond 2^31 connections), int32[nnz]
    other_indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    other_by_input, other_outs : int32[n_in + 1] (int64 beyond 2^31 connections), int32[nnz]
        The other layer's connections grouped by input neuron.
    out : float64[n_out, n_out]
        Overwritten; holds single-precision values.
    """
    for row in prange(out.shape[0]):
        distances = out[row]
        distances[:] = 0.0
        for k in range(indptr[row], indptr[row + 1]):
            for m in range(other_by_input[indices[k]], other_by_input[indices[k] + 1]):
                distances[other_outs[m]] += 1.0
        n_own = indptr[row + 1] - indptr[row]
        for j in range(out.shape[1]):
            distances[j] = edit_distance(n_own, other_indptr[j + 1] - other_indptr[j], np.int64(distances[j]))
