"""Random numbers of a whole layer, of which each part keeps its own: all parts draw the same stream."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array, Int64Array
from hpc_sparse.network.distinct_numbers import sorted_distinct
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.partition import chunk_ranges

DRAWN_AT_ONCE = 1 << 16
"""Numbers; a stream gives the same ones however many are drawn at a time."""


def own_distinct_numbers(n: int, n_chosen: int, rng: np.random.Generator, own: range, exchange: Exchange) -> Int64Array:
    """Those of :func:`hpc_sparse.network.distinct_numbers.distinct_numbers` that are in the part's own range.

    Collective. Time O(n_chosen), memory that of the own ones.

    Parameters
    ----------
    n, n_chosen : int
        ``n_chosen`` distinct numbers below ``n`` are drawn by all parts together.
    rng : numpy.random.Generator
        The same on every part.
    own : range
        Of the ranges of all parts, which together are all numbers below ``n``.
    exchange : Exchange

    Returns
    -------
    int64[n], increasing
    """
    if 2 * n_chosen > n:
        left_out = own_distinct_numbers(n, n - n_chosen, rng, own, exchange)
        return np.delete(np.arange(own.start, own.stop, dtype=OFFSET), left_out - own.start)
    chosen = np.empty(0, OFFSET)
    while n_missing := n_chosen - exchange.total(chosen.size):
        found = [chosen]
        for start, stop in chunk_ranges(0, n_missing, DRAWN_AT_ONCE):
            drawn = rng.integers(0, n, stop - start, OFFSET)
            found.append(drawn[(drawn >= own.start) & (drawn < own.stop)])
        chosen = sorted_distinct(np.concatenate(found))
    return chosen


def own_normals(n: int, rng: np.random.Generator, own: range) -> Float32Array:
    """float32[own]: those of ``n`` normal numbers whose positions are in a range; time O(n), memory that of these."""
    found = [np.empty(0, VALUE)]
    for start, stop in chunk_ranges(0, n, DRAWN_AT_ONCE):
        drawn = rng.standard_normal(stop - start, VALUE)
        found.append(drawn[max(start, own.start) - start : max(0, min(stop, own.stop) - start)])
    return np.concatenate(found)
