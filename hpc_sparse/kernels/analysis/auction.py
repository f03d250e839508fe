"""Matching the neurons of two wide layers by auction, in memory for their connections but not for all pairs."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _best_offer(row, indptr, indices, other_indptr, by_input, outs, is_open, price, n_common, met):
    """The partner with the largest gain after its price, that value, and the second largest; at least 0 each.

    The gain of a pair is its Jaccard index. Only neurons that share an input have one; going without a partner
    has value 0. ``n_common`` must be 0 and is 0 again at the end.
    """
    n_met = 0
    for k in range(indptr[row], indptr[row + 1]):
        for m in range(by_input[indices[k]], by_input[indices[k] + 1]):
            other = outs[m]
            if is_open[other]:
                if n_common[other] == 0:
                    met[n_met] = other
                    n_met += 1
                n_common[other] += 1
    best, value, second = -1, 0.0, 0.0
    n_own = indptr[row + 1] - indptr[row]
    for number in range(n_met):
        other = met[number]
        shared = np.int64(n_common[other])
        n_common[other] = 0
        offer = shared / (n_own + other_indptr[other + 1] - other_indptr[other] - shared) - price[other]
        if offer > value:
            best, value, second = other, offer, value
        elif offer > second:
            second = offer
    return best, value, second


@njit(cache=True, nogil=True)
def auction(indptr, indices, other_indptr, by_input, outs, is_open, increment, partner, price):
    """Match neurons so that their Jaccard indices sum to within ``increment`` per neuron of the largest sum possible.

    Every neuron without a partner bids for the neuron of highest net value (Bertsekas 1988). The bid is the difference
    to its second choice plus ``increment``; a neuron that is outbid bids again. Neurons that nobody bids for keep the
    price 0, so the bound needs no perfect matching.

    Parameters
    ----------
    indptr, indices : int32[n_out + 1] (int64 beyond 2^31 connections), int32[nnz]
        The bidders' layer.
    other_indptr : int32[n_out + 1], or int64 beyond 2^31 connections
        The other layer's.
    by_input, outs : int32[n_in + 1] (int64 beyond 2^31 connections), int32[nnz]
        The other layer's connections grouped by input neuron.
    is_open : bool[n_out]
        Which of the other neurons can be had.
    increment : float
        Smaller is better and slower.
    partner : int32[n_out]
        -1 for a neuron that looks for a partner; those that have one stay out. Overwritten; -1 where no partner
        that shares an input was worth its price.
    price : float64[n_out]
        Of the other neurons; overwritten.

    Returns
    -------
    float
        An upper bound of the largest possible sum (the value of the dual problem at these prices).
    """
    n = partner.size
    n_common, met = np.zeros(n, np.int32), np.empty(n, np.int32)
    owner, waiting = np.full(n, -1, np.int32), np.empty(n, np.int32)
    index = (indptr, indices, other_indptr, by_input, outs)
    price[:] = 0.0
    bidders = np.flatnonzero(partner < 0)
    n_waiting = bidders.size
    for number in range(n_waiting):
        waiting[number] = bidders[n_waiting - 1 - number]
    while n_waiting:
        n_waiting -= 1
        row = waiting[n_waiting]
        best, value, second = _best_offer(row, *index, is_open, price, n_common, met)
        if best >= 0:
            price[best] += value - second + increment
            if owner[best] >= 0:
                partner[owner[best]] = -1
                waiting[n_waiting] = owner[best]
                n_waiting += 1
            owner[best] = row
            partner[row] = best
    bound = price.sum()
    for row in bidders:
        bound += _best_offer(row, *index, is_open, price, n_common, met)[1]
    return bound
