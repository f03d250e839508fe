"""Order statistics of numbers that the parts of a network have together, without gathering them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array
from hpc_sparse.kernels.partitioned.order import count_digits
from hpc_sparse.network.partitioned.exchange import Exchange

DIGITS = (11, 11, 10)
"""Bits by which numbers are told apart, from the highest on; one message of as many counts for each."""


def order_statistic(values: Float32Array, rank: int, exchange: Exchange) -> tuple[np.float32, int]:
    """The number of some rank among those of all parts, and how many are smaller (collective).

    Numbers that are not negative are ordered as their bits are: a radix selection in three rounds.

    Parameters
    ----------
    values : float32[n]
        Not negative; those of this part.
    rank : int
        0 for the smallest of all parts; below the number of all values.
    exchange : Exchange
    """
    bits = np.abs(values).view(np.uint32)  # no negative zeros
    prefix, n_smaller, n_known = 0, 0, 0
    for n_bits in DIGITS:
        counts = np.zeros(1 << n_bits, OFFSET)
        count_digits(bits, np.uint32(prefix), n_known, n_bits, counts)
        up_to = np.cumsum(exchange.totals(counts))
        digit = int(np.searchsorted(up_to, rank - n_smaller, side="right"))
        n_smaller += int(up_to[digit - 1]) if digit else 0
        prefix, n_known = prefix << n_bits | digit, n_known + n_bits
    return VALUE(np.array(prefix, np.uint32).view(VALUE)), n_smaller


def own_ties(n_own: Sequence[int], n_chosen: int, exchange: Exchange) -> list[int]:
    """How many of a part's equal numbers are chosen when the first ones of all layers and parts are (collective).

    Parameters
    ----------
    n_own : sequence of int
        Equal numbers that this part has in each layer. Those of lower layers come first, then those of lower parts.
    n_chosen : int
        Of all layers and parts.
    exchange : Exchange
    """
    of_all = exchange.gather(np.array(n_own, OFFSET)).T
    before = (np.cumsum(of_all) - of_all.ravel()).reshape(of_all.shape)[:, exchange.part]
    return [min(own, max(0, n_chosen - n)) for own, n in zip(n_own, before.tolist(), strict=True)]
