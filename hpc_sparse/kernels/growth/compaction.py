"""Taking neurons out of a layer, and how much weight comes into and goes out of each."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(parallel=True, cache=True, nogil=True)
def incoming_strength(indptr, weight, bounds, out):
    """Sum of |weight| over the incoming connections of each output neuron, 0 for one without any.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    weight : float32[nnz]
    bounds : int64[n_blocks + 1]
        Blocks of rows.
    out : float64[n_out]
        Overwritten; each sum runs in the order of the connections, whatever the number of threads.
    """
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            total = 0.0
            for k in range(indptr[row], indptr[row + 1]):
                total += abs(np.float64(weight[k]))
            out[row] = total


@njit(cache=True, nogil=True)
def add_outgoing_strength(indices, weight, out):
    """As :func:`outgoing_strength`, added to what is in ``out``, connection by connection."""
    for k in range(indices.size):
        out[indices[k]] += abs(np.float64(weight[k]))


@njit(cache=True, nogil=True)
def outgoing_strength(indices, weight, out):
    """Sum of |weight| over the outgoing connections of each input neuron; ``out`` float64[n_in] is overwritten."""
    out[:] = 0.0
    add_outgoing_strength(indices, weight, out)


@njit(cache=True, nogil=True)
def has_survivor(indptr, indices, is_output_kept, is_input_kept):
    """Whether any connection has both its ends among the kept neurons (bool[n_out], bool[n_in])."""
    for row in range(indptr.size - 1):
        if is_output_kept[row]:
            for k in range(indptr[row], indptr[row + 1]):
                if is_input_kept[indices[k]]:
                    return True
    return False


@njit(parallel=True, cache=True, nogil=True)
def count_survivors(indptr, indices, old_row, new_column, counts):
    """How many connections each row of the new layer has.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    indices : int32[nnz]
    old_row : int64[n_out of the new layer]
        The row it was before; -1 for a row that loses all its connections.
    new_column : int32[n_in]
        The number of each input neuron in the new layer; -1 for those removed.
    counts : int64[n_out of the new layer]
        Overwritten.
    """
    for row in prange(old_row.size):
        n, old = 0, old_row[row]
        if old >= 0:
            for k in range(indptr[old], indptr[old + 1]):
                n += new_column[indices[k]] >= 0
        counts[row] = n


@njit(parallel=True, cache=True, nogil=True)
def fill_survivors(indptr, indices, old_row, new_column, new_indptr, new_indices, old_position):
    """Write the connections that :func:`count_survivors` has counted, with the numbers their ends have now.

    Parameters
    ----------
    indptr, indices, old_row, new_column
        As there.
    new_indptr : int64[n_out of the new layer + 1]
        Where the rows start, from the counts.
    new_indices : int32[nnz of the new layer]
    old_position : int64[nnz of the new layer]
        Where the connection was. The last two are overwritten.
    """
    for row in prange(old_row.size):
        out, old = new_indptr[row], old_row[row]
        if old >= 0:
            for k in range(indptr[old], indptr[old + 1]):
                column = new_column[indices[k]]
                if column >= 0:
                    new_indices[out] = column
                    old_position[out] = k
                    out += 1
