"""Patterns N:M that are patterns of the transposed matrix, too: at most N connections of an input in M neurons.

A matrix falls into squares of M neurons x M inputs, which are independent of each other. In each, a neuron has N
connections and an input at most N.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.hashing import counted

SWITCHES = 4
"""Switches that are tried for each connection: after so many, hardly anything is left of the pattern that was first."""


@njit(parallel=True, cache=True, nogil=True)
def draw_transposable(n, m, n_in, key, position):
    """Draw the connections of each square.

    Shifted rows in a random order of rows and of columns; then pairs of connections switch their columns wherever both
    places are free, which reaches every pattern (Ryser 1957).

    Parameters
    ----------
    n, m : int
        The pattern; every group of inputs has a whole number of connections per neuron.
    n_in : int
    key : uint64
        Stream of the layer; a square depends on it and on its number alone.
    position : uint8[n_out * fan_in]
        Overwritten.
    """
    n_groups, fan_in = (n_in + m - 1) // m, _fan_in(n, m, n_in)
    n_out = position.size // fan_in
    for square in prange(n_groups * ((n_out + m - 1) // m)):
        group, first = square % n_groups, square // n_groups * m
        n_inputs, n_rows = min(m, n_in - group * m), min(m, n_out - first)
        n_own = n_inputs * n // m
        own_key, drawn = counted(key, np.uint64(square)), 0
        rows, columns = np.arange(m), np.arange(n_inputs)
        for order in (rows, columns):
            for i in range(order.size - 1, 0, -1):
                k = np.int64(counted(own_key, np.uint64(drawn)) % np.uint64(i + 1))
                drawn += 1
                order[i], order[k] = order[k], order[i]
        is_there, owned = np.zeros((n_rows, n_inputs), np.bool_), np.empty((n_rows, n_own), np.int64)
        for row in range(n_rows):
            for j in range(n_own):
                # Rows of a whole square begin at every place m / n_inputs times: each column has n connections.
                owned[row, j] = columns[(rows[row] * n_inputs // m + j) % n_inputs]
                is_there[row, owned[row, j]] = True
        _switch(own_key, drawn, is_there, owned)
        for row in range(n_rows):
            at = (first + row) * fan_in + group * n
            position[at : at + n_own] = np.flatnonzero(is_there[row])


@njit(cache=True, nogil=True)
def _switch(key, drawn, is_there, owned):
    """Let pairs of connections switch their columns; ``drawn`` numbers of the stream are used up."""
    n_own, n = owned.shape[1], owned.size
    for turn in range(SWITCHES * n):
        number = np.int64(counted(key, np.uint64(drawn + turn)) >> np.uint64(1))
        (row, j), (with_row, k) = divmod(number % n, n_own), divmod(number // n % n, n_own)
        column, with_column = owned[row, j], owned[with_row, k]
        if not is_there[row, with_column] and not is_there[with_row, column]:
            is_there[row, column] = is_there[with_row, with_column] = False
            is_there[row, with_column] = is_there[with_row, column] = True
            owned[row, j], owned[with_row, k] = with_column, column


@njit(parallel=True, cache=True, nogil=True)
def choose_transposable(indptr, indices, values, n, m, n_in, position, weight):
    """Keep the connections of compressed rows whose |values| have the largest sum of all that a pattern allows.

    Each square is a problem of transport: a neuron sends N units over connections of capacity 1, an input takes at
    most N. Units go one after the other over the cheapest path in what is left (Edmonds, Karp 1972, with potentials),
    so the sum is the largest one up to rounding in float64. Missing connections count as 0, and get the value 0 where
    the pattern needs some.

    Parameters
    ----------
    indptr, indices, values : int32[n_out + 1] (int64 beyond 2^31 connections), int32[nnz], float32[nnz]
    n, m, n_in : int
        The pattern; every group of inputs has a whole number of connections per neuron.
    position : uint8[n_out * fan_in]
    weight : float32[n_out * fan_in]
        Overwritten.
    """
    n_out, n_groups, fan_in = indptr.size - 1, (n_in + m - 1) // m, _fan_in(n, m, n_in)
    for square in prange(n_groups * ((n_out + m - 1) // m)):
        group, first = square % n_groups, square // n_groups * m
        n_inputs, n_rows = min(m, n_in - group * m), min(m, n_out - first)
        own = np.zeros((n_rows, n_inputs), np.float32)
        for row in range(n_rows):
            begin, end = np.int64(indptr[first + row]), np.int64(indptr[first + row + 1])
            k = begin + np.searchsorted(indices[begin:end], group * m)
            while k < end and indices[k] < group * m + n_inputs:
                own[row, indices[k] - group * m] = values[k]
                k += 1
        is_kept = largest_of_square(np.abs(own), n_inputs * n // m, n)
        for row in range(n_rows):
            at = (first + row) * fan_in + group * n
            for column in range(n_inputs):
                if is_kept[row, column]:
                    position[at], weight[at] = column, own[row, column]
                    at += 1


@njit(cache=True, nogil=True)
def largest_of_square(sizes, n_of_row, most_of_column):
    """The choice of ``n_of_row`` entries in each row, ``most_of_column`` at most in a column, whose sum is largest.

    Parameters
    ----------
    sizes : float32[n_rows, n_columns]
        At least 0.
    n_of_row, most_of_column : int
        With ``n_rows * n_of_row <= n_columns * most_of_column``.

    Returns
    -------
    bool[n_rows, n_columns]
    """
    n_rows, n_columns = sizes.shape
    costs, is_kept = np.float64(sizes.max()) - sizes.astype(np.float64), np.zeros(sizes.shape, np.bool_)
    potentials, counts = np.zeros(n_rows + n_columns + 1), np.zeros(n_columns, np.int64)
    for unit in range(n_rows * n_of_row):
        _send(unit % n_rows, costs, most_of_column, is_kept, potentials, counts)
    return is_kept


@njit(cache=True, nogil=True)
def _send(start, costs, most, is_kept, potentials, counts):
    """One unit from row ``start`` over the cheapest path to a column with room, behind which is the sink.

    Nodes are rows, columns, the sink. Potentials keep the costs of all steps that are possible at least 0.
    """
    n_rows, n_columns = costs.shape
    sink = n_rows + n_columns
    distance, previous, is_done = np.full(sink + 1, np.inf), np.full(sink + 1, -1), np.zeros(sink + 1, np.bool_)
    distance[start], at = 0.0, start
    while at != sink:
        is_done[at] = True
        if at < n_rows:
            for column in np.flatnonzero(~is_kept[at]):
                _reach(n_rows + column, at, costs[at, column], potentials, distance, previous)
        else:
            for row in np.flatnonzero(is_kept[:, at - n_rows]):
                _reach(row, at, -costs[row, at - n_rows], potentials, distance, previous)
            if counts[at - n_rows] < most:
                _reach(sink, at, 0.0, potentials, distance, previous)
        at = sink
        for node in range(sink):
            if not is_done[node] and distance[node] < distance[at]:
                at = node
    potentials += np.minimum(distance, distance[sink])
    at = previous[sink]
    counts[at - n_rows] += 1
    while at != start:
        before = previous[at]
        if at >= n_rows:
            is_kept[before, at - n_rows] = True
        else:
            is_kept[at, before - n_rows] = False
        at = before


@njit(inline="always")
def _reach(node, at, cost, potentials, distance, previous):
    """Take note of a step from node ``at``, if it is shorter than what is known; rounding makes no cost negative."""
    length = distance[at] + max(0.0, cost + potentials[at] - potentials[node])
    if length < distance[node]:
        distance[node], previous[node] = length, at


@njit(cache=True, nogil=True)
def first_overfull(position, n, m, n_in):
    """The first connection by which an input has more than N in a square; -1 if there is none."""
    fan_in = _fan_in(n, m, n_in)
    counts = np.zeros(n_in, np.int64)
    for k in range(position.size):
        row, j = divmod(k, fan_in)
        if j == 0 and row % m == 0:
            counts[:] = 0
        column = j // n * m + position[k]
        counts[column] += 1
        if counts[column] > n:
            return k
    return -1


@njit(inline="always")
def _fan_in(n, m, n_in):
    """Connections of a neuron."""
    return n_in // m * n + n_in % m * n // m
