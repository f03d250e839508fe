"""Following connections from the inputs up and from the outputs down: one truth value per neuron, nothing else."""

from __future__ import annotations

from numba import njit, prange


@njit(parallel=True, cache=True, nogil=True)
def reach_above(indptr, indices, below, above):
    """Whether any input of a neuron is reached.

    Parameters
    ----------
    indptr, indices : int32[n_out + 1] (int64 beyond 2^31 connections), int32[nnz]
    below : bool[n_in]
    above : bool[n_out]
        Overwritten.
    """
    for row in prange(above.size):
        found = False
        for k in range(indptr[row], indptr[row + 1]):
            if below[indices[k]]:
                found = True
                break
        above[row] = found


@njit(cache=True, nogil=True)
def use_below(indptr, indices, above, below):
    """Whether any neuron that an input leads to is used; arrays as in :func:`reach_above`, ``below`` overwritten."""
    below[:] = False
    for row in range(above.size):
        if above[row]:
            for k in range(indptr[row], indptr[row + 1]):
                below[indices[k]] = True


@njit(parallel=True, cache=True, nogil=True)
def count_effective(indptr, indices, below, above):
    """How many connections lead from a neuron that is reached to one that is used."""
    n = 0
    for row in prange(above.size):
        own = 0
        if above[row]:
            for k in range(indptr[row], indptr[row + 1]):
                if below[indices[k]]:
                    own += 1
        n += own
    return n
