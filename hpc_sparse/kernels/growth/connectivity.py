"""Building and changing connectivity in time and memory proportional to the number of connections."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.hashing import counted, counted_unit


@njit(inline="always")
def _gap(key, counter, log_absent):
    """Number of absent positions before the next present one: geometric, by inversion; a float, as it may be huge."""
    return np.floor(math.log(counted_unit(key, counter)) / log_absent)


@njit(parallel=True, cache=True, nogil=True)
def count_random_rows(first_row, n_in, log_absent, key, bounds, counts):
    """Draw how many connections each row gets when every position is present with the same probability.

    The gaps between the connections of a row are drawn from a geometric distribution. The cost is therefore the number
    of connections, and the columns come out sorted and distinct. Each row has its own stream: any rank or thread can
    draw any row.

    Parameters
    ----------
    first_row : int
        Number in the layer of the first row drawn here.
    n_in : int
    log_absent : float
        log(1 - density), negative; ``-inf`` makes every position present.
    key : uint64
        Stream of the layer.
    bounds : int64[n_blocks + 1]
        Blocks of rows, counted from ``first_row``.
    counts : int64[n_rows]
        Overwritten.
    """
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            row_key = counted(key, np.uint64(first_row + row))
            column, n = -1.0, 0
            while True:
                column += 1.0 + _gap(row_key, np.uint64(n), log_absent)
                if column >= n_in:
                    break
                n += 1
            counts[row] = n


@njit(parallel=True, cache=True, nogil=True)
def fill_random_rows(first_row, log_absent, key, bounds, indptr, indices):
    """Draw the same rows as :func:`count_random_rows` again and store their columns in ``indices`` (int32[nnz])."""
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            row_key = counted(key, np.uint64(first_row + row))
            column, start = -1.0, indptr[row]
            for k in range(start, indptr[row + 1]):
                column += 1.0 + _gap(row_key, np.uint64(k - start), log_absent)
                indices[k] = np.int32(column)


@njit(cache=True, nogil=True)
def transpose(indptr, indices, transposed_indptr, outs, position):
    """Group the connections by input neuron, by counting sort.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    indices : int32[nnz]
    transposed_indptr : int32[n_in + 1], or int64 beyond 2^31 connections
    outs : int32[nnz]
        Output neuron of each connection, increasing within an input neuron.
    position : int32[nnz], or int64 beyond 2^31 connections
        Where the connection is in ``indices``. The last three are overwritten.
    """
    transposed_indptr[:] = 0
    for k in range(indices.size):
        transposed_indptr[indices[k] + 1] += 1
    for j in range(transposed_indptr.size - 1):
        transposed_indptr[j + 1] += transposed_indptr[j]
    for row in range(indptr.size - 1):
        for k in range(indptr[row], indptr[row + 1]):
            slot = transposed_indptr[indices[k]]
            outs[slot] = row
            position[slot] = k
            transposed_indptr[indices[k]] = slot + 1
    for j in range(transposed_indptr.size - 1, 0, -1):
        transposed_indptr[j] = transposed_indptr[j - 1]
    transposed_indptr[0] = 0


@njit(cache=True, nogil=True)
def first_disorder(indptr, indices, n_in):
    """The first connection that is out of range, or not after its predecessor in the row; -1 if all is well."""
    for row in range(indptr.size - 1):
        previous = -1
        for k in range(indptr[row], indptr[row + 1]):
            if indices[k] <= previous or indices[k] >= n_in:
                return k
            previous = indices[k]
    return -1


@njit(cache=True, nogil=True)
def mark_kept(weight, positive_limit, positive_ties, negative_limit, negative_ties, is_kept):
    """Mark the connections that stay when those closest to zero are dropped, sign by sign.

    Weights >= 0 are dropped below ``positive_limit``, and the first ``positive_ties`` that are equal to it. Weights < 0
    are dropped above ``negative_limit``, and the first ``negative_ties`` that are equal to it.

    Returns
    -------
    int
        Connections that stay.
    """
    n_kept = 0
    for k in range(weight.size):
        w = weight[k]
        if w >= 0:
            stays = w >= positive_limit
            if w == positive_limit and positive_ties > 0:
                positive_ties -= 1
                stays = False
        else:
            stays = w <= negative_limit
            if w == negative_limit and negative_ties > 0:
                negative_ties -= 1
                stays = False
        is_kept[k] = stays
        n_kept += stays
    return n_kept


@njit(cache=True, nogil=True)
def free_keys(indptr, indices, is_kept, n_in, ranks, keys):
    """The keys of the free positions with the given ranks, among all positions that hold no kept connection.

    The free position of rank r, in key order, has key r + (number of kept connections before it). One merge over both
    finds the keys without a list of the free positions.

    Parameters
    ----------
    indptr, indices : int32[n_out + 1] (int64 beyond 2^31 connections), int32[nnz]
    is_kept : bool[nnz]
    n_in : int
    ranks : int64[n]
        Sorted, each below n_out * n_in - number kept.
    keys : int64[n]
        Overwritten, sorted.
    """
    n_before, r = 0, 0
    for row in range(indptr.size - 1):
        for k in range(indptr[row], indptr[row + 1]):
            if is_kept[k]:
                key = np.int64(row) * n_in + indices[k]
                while r < ranks.size and ranks[r] + n_before < key:
                    keys[r] = ranks[r] + n_before
                    r += 1
                n_before += 1
    while r < ranks.size:
        keys[r] = ranks[r] + n_before
        r += 1


@njit(cache=True, nogil=True)
def merge_rows(indptr, indices, is_kept, n_in, grown_keys, new_indptr, new_indices, old_position):
    """Merge the kept connections with the grown ones into a new sorted index.

    Parameters
    ----------
    indptr, indices, is_kept, n_in
        As in :func:`free_keys`.
    grown_keys : int64[n]
        Sorted; none is kept already.
    new_indptr : int32[n_out + 1], or int64 as ``indptr``
    new_indices : int32[n_kept + n]
    old_position : int64[n_kept + n]
        Where the connection was, -1 if it has grown. The last three are overwritten.
    """
    g, out = 0, 0
    new_indptr[0] = 0
    for row in range(indptr.size - 1):
        row_key = np.int64(row) * n_in
        for k in range(indptr[row], indptr[row + 1]):
            if is_kept[k]:
                while g < grown_keys.size and grown_keys[g] < row_key + indices[k]:
                    new_indices[out] = grown_keys[g] - row_key
                    old_position[out] = -1
                    g += 1
                    out += 1
                new_indices[out] = indices[k]
                old_position[out] = k
                out += 1
        while g < grown_keys.size and grown_keys[g] < row_key + n_in:
            new_indices[out] = grown_keys[g] - row_key
            old_position[out] = -1
            g += 1
            out += 1
        new_indptr[row + 1] = out


@njit(parallel=True, cache=True, nogil=True)
def carry_over(old, old_position, fill, out):
    """``out[k] = old[old_position[k]]``, or ``fill`` where that is -1."""
    for k in prange(out.size):
        source = old_position[k]
        out[k] = old[source] if source >= 0 else fill


@njit(parallel=True, cache=True, nogil=True)
def carry_rows(old, old_position, out):
    """``out[k] = old[old_position[k]]``, or 0 where that is -1, for rows [n, m] of values."""
    for k in prange(out.shape[0]):
        source = old_position[k]
        for i in range(out.shape[1]):
            if source >= 0:
                out[k, i] = old[source, i]
            else:
                out[k, i] = 0
