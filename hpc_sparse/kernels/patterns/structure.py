"""Structure of connections in groups of inputs: drawn, taken over, checked, transposed."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.hashing import counted
from hpc_sparse.kernels.patterns.expansion import GROUP


@njit(inline="always")
def _group_size(group, n, m, n_in, fan_in):
    """Inputs and connections of a group of a row."""
    return min(m, n_in - group * m), min(n, fan_in - group * n)


@njit(parallel=True, cache=True, nogil=True)
def draw_positions(n, m, n_in, key, bounds, position):
    """Draw the connections of each group, every choice with equal probability (Floyd's algorithm, CACM 30:754, 1987).

    Work grows with the number of connections, times N / 4 for keeping them in order.

    Parameters
    ----------
    n, m : int
        The pattern.
    n_in : int
    key : uint64
        Stream of the layer; a group's choice depends on it and on the number of the group alone.
    bounds : int64[n_blocks + 1]
        Blocks of rows.
    position : uint8[n_out * fan_in]
        Overwritten.
    """
    fan_in, n_groups = position.size // bounds[-1], (n_in + m - 1) // m
    for block in prange(bounds.size - 1):
        for row in range(bounds[block], bounds[block + 1]):
            for group in range(n_groups):
                n_inputs, n_chosen = _group_size(group, n, m, n_in, fan_in)
                group_key = counted(key, np.uint64(row * n_groups + group))
                chosen = position[row * fan_in + group * n :]
                for found in range(n_chosen):
                    newest = n_inputs - n_chosen + found
                    drawn = np.int64(counted(group_key, np.uint64(found)) % np.uint64(newest + 1))
                    for k in range(found):
                        if chosen[k] == drawn:
                            drawn = newest
                            break
                    k = found
                    while k > 0 and chosen[k - 1] > drawn:
                        chosen[k] = chosen[k - 1]
                        k -= 1
                    chosen[k] = drawn


@njit(cache=True, nogil=True)
def take_over(indptr, indices, n, m, fan_in, position):
    """Positions of the connections of compressed rows, uint8[n_out * fan_in], if their groups have the right numbers.

    Returns
    -------
    bool
        Whether every group has as many connections as the pattern says; ``position`` is worthless otherwise.
    """
    for row in range(indptr.size - 1):
        if indptr[row + 1] - indptr[row] != fan_in:
            return False
        for j in range(fan_in):
            group = indices[row * fan_in + j] // m
            if group != j // n:
                return False
            position[row * fan_in + j] = indices[row * fan_in + j] - group * m
    return True


@njit(cache=True, nogil=True)
def first_disorder(position, n, m, n_in, fan_in):
    """The first connection out of its group's range, or not after its predecessor in the group; -1 if all is well."""
    for k in range(position.size):
        j = k % fan_in
        n_inputs, _ = _group_size(j // n, n, m, n_in, fan_in)
        if position[k] >= n_inputs or (j % n and position[k] <= position[k - 1]):
            return k
    return -1


@njit(cache=True, nogil=True)
def transpose(position, base, n, starts, counts, outs, slots):
    """Group the connections by input neuron, by counting sort; output neurons increase within an input neuron.

    Parameters
    ----------
    position, base
        As in :func:`hpc_sparse.kernels.patterns.forward.forward`.
    n : int
        Connections of a group.
    starts : int32[n_in + 1], or int64 beyond 2^31 connections
    counts : uint16[n_in * n_groups]
    outs, slots : uint8[nnz]
        Overwritten, as the others: see :func:`hpc_sparse.kernels.patterns.backward.backward`.
    """
    fan_in, n_in = base.size, starts.size - 1
    n_out, n_groups = position.size // fan_in, counts.size // n_in
    starts[:] = 0
    counts[:] = 0
    for row in range(n_out):
        for j in range(fan_in):
            source = base[j] + position[row * fan_in + j]
            counts[source * n_groups + row // GROUP] += 1
            starts[source + 1] += 1
    for i in range(n_in):
        starts[i + 1] += starts[i]
    for row in range(n_out):
        for j in range(fan_in):
            source = base[j] + position[row * fan_in + j]
            place = starts[source]
            outs[place] = row % GROUP
            slots[place] = j % n
            starts[source] = place + 1
    for i in range(n_in, 0, -1):
        starts[i] = starts[i - 1]
    starts[0] = 0


@njit(cache=True, nogil=True)
def strengths(position, base, weight, incoming, outgoing):
    """Sums of the absolute weights of each output neuron and of each input neuron, float64, overwritten."""
    fan_in = base.size
    incoming[:] = 0
    outgoing[:] = 0
    for row in range(incoming.size):
        for j in range(fan_in):
            k = row * fan_in + j
            size = np.float64(abs(weight[k]))
            incoming[row] += size
            outgoing[base[j] + position[k]] += size


@njit(cache=True, nogil=True)
def choose_largest(indptr, indices, values, n, m, n_in, fan_in, position, weight):
    """Keep the largest |values| of each group of compressed rows; a group with fewer gets connections of value 0.

    Among equal ones, the first are kept. Connections of value 0 go to the first inputs of the group without any.

    Parameters
    ----------
    indptr, indices, values : int32[n_out + 1] (int64 beyond 2^31 connections), int32[nnz], float32[nnz]
    n, m, n_in, fan_in : int
        The pattern, and the connections of a row.
    position : uint8[n_out * fan_in]
    weight : float32[n_out * fan_in]
        Overwritten.
    """
    n_groups = (n_in + m - 1) // m
    own, is_taken = np.empty(m, np.float32), np.empty(m, np.bool_)
    for row in range(indptr.size - 1):
        k, at = np.int64(indptr[row]), row * fan_in
        for group in range(n_groups):
            n_inputs, n_kept = _group_size(group, n, m, n_in, fan_in)
            own[:] = 0
            is_taken[:] = False
            while k < indptr[row + 1] and indices[k] < group * m + n_inputs:
                own[indices[k] - group * m] = values[k]
                k += 1
            for _ in range(n_kept):
                best = -1
                for i in range(n_inputs):
                    if not is_taken[i] and (best < 0 or abs(own[i]) > abs(own[best])):
                        best = i
                is_taken[best] = True
            for i in range(n_inputs):
                if is_taken[i]:
                    position[at], weight[at] = i, own[i]
                    at += 1
