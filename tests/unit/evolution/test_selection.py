"""Choosing what to drop and where to grow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_sparse.evolution.selection import distinct_numbers, draw_free_keys, keep_strongest
from hpc_sparse.network.connections.topology import Topology

values = st.lists(st.sampled_from([-2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5]) | st.floats(-3, 3, width=32))


@given(values, st.data())
def test_the_weakest_of_each_sign_are_dropped_and_the_first_of_equals(drawn, data):
    weight = np.array(drawn, np.float32)
    signs = [np.flatnonzero(weight >= 0), np.flatnonzero(weight < 0)]
    n_drop = [data.draw(st.integers(0, positions.size)) for positions in signs]
    expected = np.ones(weight.size, np.bool_)
    for positions, n in zip(signs, n_drop, strict=True):
        order = np.argsort(np.abs(weight[positions]), kind="stable")
        expected[positions[order[:n]]] = False
    np.testing.assert_array_equal(keep_strongest(weight, *n_drop), expected)


def test_selecting_changes_no_weight():
    weight = np.array([3, -1, 2, -2, 1], np.float32)
    keep_strongest(weight, 1, 1)
    assert weight.tolist() == [3, -1, 2, -2, 1]


@given(st.integers(0, 60), st.data(), st.integers(0, 2**32))
def test_numbers_are_distinct_sorted_and_in_range(n, data, seed):
    n_chosen = data.draw(st.integers(0, n))
    chosen = distinct_numbers(n, n_chosen, np.random.default_rng(seed))
    assert chosen.dtype == np.int64
    assert chosen.size == n_chosen
    assert (np.diff(chosen) > 0).all()
    assert set(chosen.tolist()) <= set(range(n))


@pytest.mark.parametrize("n_chosen", [2, 4])
def test_every_set_of_numbers_is_equally_likely(n_chosen):
    rng, n_draws = np.random.default_rng(1), 6000
    times: dict[tuple[int, ...], int] = {}
    for _ in range(n_draws):
        chosen = tuple(distinct_numbers(6, n_chosen, rng).tolist())
        times[chosen] = times.get(chosen, 0) + 1
    n_sets = math.comb(6, n_chosen)
    assert len(times) == n_sets
    expected = n_draws / n_sets
    chi_square = sum((count - expected) ** 2 / expected for count in times.values())
    assert chi_square < n_sets + 4 * math.sqrt(2 * n_sets)


def test_numbers_far_beyond_32_bits_cost_only_what_is_chosen():
    chosen = distinct_numbers(2**62, 1000, np.random.default_rng(1))
    assert chosen.size == 1000
    assert chosen.max() > 2**61


def test_fewer_keys_are_drawn_only_where_fewer_are_free():
    topology = Topology.from_keys((2, 3), np.array([0, 2, 3, 5]))
    is_kept = np.array([True, True, False, True])
    rng = np.random.default_rng(1)
    assert draw_free_keys(topology, is_kept, 5, rng).tolist() == [1, 3, 4]
    assert draw_free_keys(topology, is_kept, 0, rng).tolist() == []
    assert set(draw_free_keys(topology, is_kept, 2, rng).tolist()) < {1, 3, 4}
