"""Finding the largest gradients of each neuron by itself, among positions that hold no connection."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.growth.largest_of_layer import TAKEN


@njit(parallel=True, cache=True, nogil=True)
def grow_rows(indptr, indices, is_kept, n_in, first_row, n_wanted, gradients, starts, keys):
    """Write down the columns of largest |gradient| of some rows, of equal ones the first.

    Parameters
    ----------
    indptr, indices : integer[n_out + 1], int32[nnz]
    is_kept : bool[nnz]
        What may not grow, being there.
    n_in : int
    first_row : int
        Output neuron of the first row of ``gradients``.
    n_wanted : int64[n_out]
        At most as many as are free.
    gradients : float32[n_rows, at least n_in]
        What is no number counts as 0.
    starts : int64[n_out]
        Where each neuron's keys begin.
    keys : int64[n]
        Overwritten in the parts of these rows, increasing.
    """
    for r in prange(gradients.shape[0]):
        row = first_row + r
        if n_wanted[row] > 0:
            sizes = np.empty(n_in, np.float32)
            for c in range(n_in):
                size = abs(gradients[r, c])
                sizes[c] = size if size >= 0 else np.float32(0)
            for k in range(indptr[row], indptr[row + 1]):
                if is_kept[k]:
                    sizes[indices[k]] = TAKEN
            limit = np.partition(sizes, n_in - n_wanted[row])[n_in - n_wanted[row]]
            n_above = 0
            for c in range(n_in):
                n_above += sizes[c] > limit
            n_ties, place = n_wanted[row] - n_above, starts[row]
            for c in range(n_in):
                if sizes[c] > limit or (sizes[c] == limit and n_ties > 0):
                    n_ties -= sizes[c] == limit
                    keys[place] = row * n_in + c
                    place += 1
