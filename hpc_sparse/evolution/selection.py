"""Choosing connections to drop and positions to grow, exactly, without sorting and without a list of free positions."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import OFFSET, BoolArray, Float32Array, Int64Array
from hpc_sparse.kernels import connectivity
from hpc_sparse.network.topology import Topology


def keep_strongest(weight: Float32Array, n_drop_positive: int, n_drop_negative: int) -> BoolArray:
    """Mark the weights that stay when, of each sign, so many closest to zero are dropped.

    Parameters
    ----------
    weight : float32[n]
        A weight of exactly 0 counts as positive. Among equal weights the first are dropped.
    n_drop_positive, n_drop_negative : int
        At most as many as there are of that sign.

    Returns
    -------
    bool[n]
    """
    is_kept = np.empty(weight.size, np.bool_)
    positive_limit, positive_ties = _limit(weight[weight >= 0], n_drop_positive)
    negative_limit, negative_ties = _limit(-weight[weight < 0], n_drop_negative)
    n_kept = connectivity.mark_kept(weight, positive_limit, positive_ties, -negative_limit, negative_ties, is_kept)
    assert n_kept == weight.size - n_drop_positive - n_drop_negative, n_kept
    return is_kept


def draw_free_keys(topology: Topology, is_kept: BoolArray, n_grow: int, rng: np.random.Generator) -> Int64Array:
    """Draw positions that hold no kept connection, uniformly and without repetition.

    Returns
    -------
    int64[n_grow], increasing
        Keys. Fewer than ``n_grow`` only if fewer are free.
    """
    n_free = topology.shape[0] * topology.shape[1] - int(np.count_nonzero(is_kept))
    ranks = distinct_numbers(n_free, min(n_grow, n_free), rng)
    keys = np.empty(ranks.size, OFFSET)
    connectivity.free_keys(topology.indptr, topology.indices, is_kept, topology.shape[1], ranks, keys)
    return keys


def distinct_numbers(n: int, n_chosen: int, rng: np.random.Generator) -> Int64Array:
    """``n_chosen`` distinct numbers below ``n``, sorted; every such set is equally likely.

    Draws until enough distinct ones are there, so time and memory grow with ``n_chosen`` whatever ``n`` is; where
    more than half are wanted, the others are drawn instead.
    """
    if 2 * n_chosen > n:
        left_out = distinct_numbers(n, n - n_chosen, rng)
        return np.delete(np.arange(n, dtype=OFFSET), left_out)
    chosen = np.empty(0, OFFSET)
    while chosen.size < n_chosen:
        drawn = rng.integers(0, n, n_chosen - chosen.size, OFFSET)
        chosen = sorted_distinct(np.concatenate([chosen, drawn]))
    return chosen


def sorted_distinct(numbers: Int64Array) -> Int64Array:
    """The distinct ``numbers``, sorted: what ``numpy.unique`` gives, a hundred times faster for millions of them.

    (NumPy 2.3 and later find them by hashing; sorting runs in vector registers.)
    """
    numbers = np.sort(numbers)
    is_first = np.ones(numbers.size, np.bool_)
    np.not_equal(numbers[1:], numbers[:-1], out=is_first[1:])
    return numbers[is_first]


def _limit(magnitude: Float32Array, n_drop: int) -> tuple[np.float32, int]:
    """The largest magnitude that is dropped, and how many equal to it are."""
    if n_drop == 0:
        return np.float32(0), 0
    magnitude.partition(n_drop - 1)
    limit = magnitude[n_drop - 1]
    return limit, int(np.count_nonzero(magnitude[:n_drop] == limit))
