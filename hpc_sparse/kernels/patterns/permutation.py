"""Gains of exchanging inputs between groups, by which a permutation keeps more of the weights (Pool and Yu 2021)."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(fastmath={"reassoc"})
def _two_of_four(a, b, c, d):
    """Sum over the rows of the two largest of four; vector code."""
    total = np.float32(0)
    for row in range(a.size):
        left, right = max(a[row], b[row]), max(c[row], d[row])
        total += max(left + right, a[row] + b[row], c[row] + d[row])
    return total


@njit(fastmath={"reassoc"})
def _largest_sum(columns, chosen, n, best):
    """Sum over the rows of the ``n`` largest of the ``chosen`` columns; ``best`` float32[n] is overwritten."""
    total = np.float32(0)
    for row in range(columns.shape[1]):
        best[:] = 0
        for number in chosen:
            value = columns[number, row]
            if value > best[n - 1]:
                k = n - 1
                while k > 0 and best[k - 1] < value:
                    best[k] = best[k - 1]
                    k -= 1
                best[k] = value
        for k in range(n):
            total += best[k]
    return total


@njit(inline="always")
def _kept(columns, chosen, n, best):
    if n == 2 and chosen.size == 4:
        return _two_of_four(columns[chosen[0]], columns[chosen[1]], columns[chosen[2]], columns[chosen[3]])
    return _largest_sum(columns, chosen, n, best)


@njit(inline="always")
def _fill(starts, outs, size, inputs, columns):
    """Dense columns of some inputs: ``columns`` float32[inputs, n_out]."""
    columns[:] = 0
    for number in range(inputs.size):
        for k in range(starts[inputs[number]], starts[inputs[number] + 1]):
            columns[number, outs[k]] = size[k]


@njit(parallel=True, cache=True, nogil=True)
def exchange_gains(starts, outs, size, order, pairs, n, m, n_out, partitions, gains, choices):
    """The best partition of the inputs of two groups, for many pairs of groups.

    Parameters
    ----------
    starts, outs : int32[n_in + 1] (int64 beyond 2^31 connections), int32[nnz]
        The connections by input.
    size : float32[nnz]
        Their |weights|.
    order : int64[n_in]
        The input at each place.
    pairs : int64[n_pairs, 2]
        Numbers of groups.
    n, m, n_out : int
    partitions : int64[n_partitions, 2 * m]
        Orders of the 2 M inputs of a pair, the present one first.
    gains : float32[n_pairs]
        Overwritten with what the best partition keeps beyond the present one.
    choices : int64[n_pairs]
        Overwritten with its number.
    """
    for pair in prange(pairs.shape[0]):
        inputs, columns, best = np.empty(2 * m, np.int64), np.empty((2 * m, n_out), np.float32), np.empty(n, np.float32)
        for side in range(2):
            inputs[side * m : side * m + m] = order[pairs[pair, side] * m : pairs[pair, side] * m + m]
        _fill(starts, outs, size, inputs, columns)
        present, gains[pair], choices[pair] = np.float32(0), 0, 0
        for number in range(partitions.shape[0]):
            chosen = partitions[number]
            kept = _kept(columns, chosen[:m], n, best) + _kept(columns, chosen[m:], n, best)
            if number == 0:
                present = kept
            elif kept - present > gains[pair]:
                gains[pair], choices[pair] = kept - present, number
