"""Pairing neurons: the exact assignment, the auction's bound, equal neurons first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from hpc_sparse.analysis.matching import INCREMENT, match_neurons, renumber_inputs
from hpc_sparse.network.connections.topology import Topology

AUCTION = 0
"""The widest layer that is matched exactly."""


def edit_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float64[n, n] by the definition, from dense (n_in, n_out) masks."""
    columns = [[set(np.flatnonzero(mask[:, j])) for j in range(mask.shape[1])] for mask in (first, second)]
    return np.array([[len(a ^ b) / len(a | b) if a | b else 0.0 for b in columns[1]] for a in columns[0]])


def mean_distance(distances: np.ndarray, partner: np.ndarray) -> float:
    return float(distances[np.arange(partner.size), partner].mean())


@st.composite
def two_masks(draw):
    """Two layers of the same shape, with empty and equal neurons among them."""
    n_in, n_out = draw(st.integers(1, 12)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.05, 0.3, 0.9, 1.0]))
    first = (rng.random((n_in, n_out)) < density).astype(np.int64)
    kind = draw(st.sampled_from(["other", "changed", "permuted"]))
    if kind == "other":
        return first, (rng.random((n_in, n_out)) < 0.3).astype(np.int64)
    second = first[:, rng.permutation(n_out)].copy()
    if kind == "changed":
        second ^= rng.random((n_in, n_out)) < 0.1
    return first, second


@pytest.mark.parametrize("exact_width", [2048, AUCTION])
@given(masks=two_masks())
def test_a_matching_is_one_to_one_and_as_good_as_it_says(exact_width, masks):
    topologies = [
        Topology.from_keys((mask.shape[1], mask.shape[0]), np.flatnonzero(mask.T).astype(np.int64)) for mask in masks
    ]
    found = match_neurons(*topologies, exact_width)
    distances = edit_distances(*masks)
    least = distances[linear_sum_assignment(distances)].mean()
    assert sorted(found.partner) == list(range(masks[0].shape[1]))
    assert found.distance == pytest.approx(mean_distance(distances, found.partner), abs=1e-12)
    assert least - 1e-6 <= found.distance <= least + INCREMENT + 1e-6
    assert found.distance - found.excess <= least + 1e-6
    assert 0 <= found.excess <= INCREMENT + 1e-9
    if exact_width:
        assert found.excess == 0
        assert found.distance == pytest.approx(least, abs=1e-6)


@pytest.mark.parametrize("density", [0.01, 0.06])
def test_an_auction_of_many_neurons_keeps_its_bound(density):
    first, second = (Topology.random((313, 200), density, np.uint64(seed)) for seed in (1, 2))
    exact, found = match_neurons(first, second), match_neurons(first, second, AUCTION)
    assert 0 < found.excess <= INCREMENT
    assert exact.distance <= found.distance <= exact.distance + found.excess + 1e-7


@pytest.mark.parametrize("exact_width", [2048, AUCTION])
def test_a_permuted_layer_is_found_out(exact_width):
    topology = Topology.random((61, 90), 0.1, np.uint64(4))
    assert len({row.tobytes() for row in np.split(topology.indices, topology.indptr[1:-1])}) == 61, "ties"
    order = np.random.default_rng(0).permutation(61)
    keys = np.sort(order[topology.keys() // 90] * 90 + topology.keys() % 90)
    found = match_neurons(topology, Topology.from_keys(topology.shape, keys), exact_width)
    assert (found.distance, found.excess) == (0, 0)
    np.testing.assert_array_equal(found.partner, order)


@pytest.mark.parametrize("exact_width", [2048, AUCTION])
def test_equal_neurons_keep_their_numbers(exact_width):
    rows = [[0, 2], [], [1], [0, 2], [], [0, 2]]
    keys = np.array([row * 3 + column for row, columns in enumerate(rows) for column in columns])
    topology = Topology.from_keys((6, 3), keys)
    assert match_neurons(topology, topology, exact_width).partner.tolist() == list(range(6))


def test_the_equal_neuron_of_the_same_number_comes_first():
    own = Topology.from_keys((2, 2), np.array([0, 2]))  # inputs {0}, {0}
    other = Topology.from_keys((2, 2), np.array([1, 2]))  # inputs {1}, {0}
    assert match_neurons(own, other, AUCTION).partner.tolist() == [0, 1]


def test_equal_neurons_of_other_numbers_are_paired_in_order():
    own = Topology.from_keys((4, 2), np.array([0, 3, 4]))  # inputs {0}, {1}, {0}, {}
    other = Topology.from_keys((4, 2), np.array([1, 2, 6]))  # inputs {1}, {0}, {}, {0}
    found = match_neurons(own, other, AUCTION)
    assert found.partner.tolist() == [1, 0, 3, 2]
    assert found.distance == 0


def test_inputs_take_the_places_of_their_partners(make_masks, to_topologies):
    (mask,) = make_masks((13, 7), 0.4)
    partner = np.random.default_rng(1).permutation(13).astype(np.int32)
    (found,) = (renumber_inputs(topology, partner) for topology in to_topologies([mask]))
    found.check()
    np.testing.assert_array_equal(found.keys(), to_topologies([mask[partner]])[0].keys())
