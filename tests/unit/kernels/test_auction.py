"""The auction, against the exact assignment; who is closed stays alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from hpc_sparse.kernels.analysis import auction
from hpc_sparse.network.connections.topology import Topology


def dense(topology):
    mask = np.zeros(topology.shape, np.int64)
    mask.flat[topology.keys()] = 1
    return mask


def gains(own, other):
    """float64[n, n]: Jaccard indices, 0 for neurons without inputs."""
    a, b = dense(own), dense(other)
    common = a @ b.T
    return common / np.maximum(a.sum(axis=1)[:, None] + b.sum(axis=1) - common, 1)


def run(own, other, increment, is_open=None, partner=None):
    n, by_input = own.shape[0], other.transposed
    is_open = np.ones(n, np.bool_) if is_open is None else is_open
    partner = np.full(n, -1, np.int32) if partner is None else partner
    price = np.full(n, np.nan)
    layers = (own.indptr, own.indices, other.indptr, by_input.indptr, by_input.outs)
    bound = auction.auction(*layers, is_open, increment, partner, price)
    return partner, bound, price


@pytest.mark.parametrize("increment", [0.1, 1e-3, 1e-5])
@pytest.mark.parametrize(("n", "n_in", "density"), [(1, 1, 1.0), (30, 7, 0.3), (57, 80, 0.05), (40, 40, 0.0)])
def test_the_sum_is_within_the_increment_of_the_largest(n, n_in, density, increment):
    own, other = (Topology.random((n, n_in), density, np.uint64(seed)) for seed in (1, 2))
    gain = gains(own, other)
    largest = gain[linear_sum_assignment(gain, maximize=True)].sum()
    partner, bound, price = run(own, other, increment)
    rows = np.flatnonzero(partner >= 0)
    assert np.unique(partner[rows]).size == rows.size
    assert (gain[rows, partner[rows]] > 0).all()
    found = gain[rows, partner[rows]].sum()
    assert largest - n * increment - 1e-12 <= found <= largest + 1e-12
    assert largest - 1e-12 <= bound <= found + n * increment + 1e-12
    assert (price[np.setdiff1d(np.arange(n), partner)] == 0).all()


def test_the_closed_are_not_chosen_and_the_paired_do_not_bid():
    own = Topology.random((20, 10), 0.4, np.uint64(1))
    is_open = np.arange(20) % 3 > 0
    partner = np.full(20, -1, np.int32)
    partner[[4, 5]] = [0, 3]  # both closed
    found, bound, _ = run(own, own, 1e-4, is_open, partner)
    assert found[[4, 5]].tolist() == [0, 3]
    bidders = np.delete(np.arange(20), [4, 5])
    assert is_open[found[bidders][found[bidders] >= 0]].all()
    gain = gains(own, own)[np.ix_(bidders, np.flatnonzero(is_open))]
    largest = gain[linear_sum_assignment(gain, maximize=True)].sum()
    assert bound == pytest.approx(largest, abs=20 * 1e-4)
