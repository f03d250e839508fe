"""Topologies and their changes: invariants, keys, and what is carried over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_sparse.evolution.strategies.set import replace_weakest
from hpc_sparse.network.connections.topology import BLOCKS, Topology, TopologyChange, erdos_renyi_density

SOUND = Topology((3, 5), np.array([0, 2, 2, 4], np.int64), np.array([1, 4, 0, 2], np.int32))


def test_a_sound_topology_passes_its_check():
    SOUND.check()


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": SOUND.indices.astype(np.int64)},
        {"shape": (4, 5)},
        {"indptr": np.array([1, 2, 2, 4], np.int64)},
        {"indptr": np.array([0, 2, 2, 3], np.int64)},
        {"indptr": np.array([0, 3, 2, 4], np.int64)},
        {"indices": np.array([4, 1, 0, 2], np.int32)},
        {"indices": np.array([1, 1, 0, 2], np.int32)},
        {"indices": np.array([1, 5, 0, 2], np.int32)},
        {"indices": np.array([-1, 4, 0, 2], np.int32)},
    ],
)
def test_the_check_catches_each_violation(changes):
    with pytest.raises(AssertionError):
        replace(SOUND, **changes).check()


def test_what_a_topology_says_of_itself(make_topology):
    topology = make_topology(43, 37)
    assert topology.n_connections == topology.fan_in().sum()
    assert topology.density == topology.n_connections / (43 * 37)
    np.testing.assert_array_equal(topology.fan_in(), np.arange(43) % 21)


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_keys_and_topologies_are_each_others_inverse(n_out, n_in, data):
    keys = np.array(sorted(data.draw(st.sets(st.integers(0, n_out * n_in - 1)))), np.int64)
    topology = Topology.from_keys((n_out, n_in), keys)
    topology.check()
    np.testing.assert_array_equal(topology.keys(), keys)


def test_keys_beyond_32_bits_keep_their_place():
    shape = (2**31 - 1, 2**31 - 1)
    keys = np.array([0, 2**31 + 5, 2**61], np.int64)
    rows, columns = np.divmod(keys, shape[1])
    small = Topology((3, shape[1]), np.array([0, 1, 2, 3], np.int64), columns.astype(np.int32))
    np.testing.assert_array_equal(small.keys(), np.array([0, 1, 2]) * shape[1] + columns)
    assert rows[-1] > 2**29


@pytest.mark.parametrize("shape", [(1, 1), (43, 37), (150, 96), (1000, 30)])
def test_blocks_cover_every_row_once(make_topology, shape):
    topology = make_topology(*shape)
    for bounds, n_rows in ((topology.bounds, shape[0]), (topology.transposed.bounds, shape[1])):
        assert bounds.size == BLOCKS + 1
        assert (bounds[0], bounds[-1]) == (0, n_rows)
        assert (np.diff(bounds) >= 0).all()


def test_a_change_carries_values_and_starts_the_grown_at_zero():
    change = TopologyChange(SOUND, np.array([3, -1, 0, -1]))
    assert change.carry(np.array([1, 2, 3, 4], np.float32)).tolist() == [4, 0, 1, 0]
    assert change.n_grown == 2


def test_changes_compose_as_a_map_by_key_does():
    rng = np.random.default_rng(4)
    topology = Topology.random((30, 40), 0.2, np.uint64(9))
    late = rng.standard_normal(topology.n_connections).astype(np.float32)
    by_key = dict(zip(topology.keys().tolist(), late.tolist(), strict=True))
    for _ in range(4):
        weight = rng.standard_normal(topology.n_connections).astype(np.float32)
        dropped = set(topology.keys().tolist())
        change = replace_weakest(topology, weight, 0.3, rng)
        late, topology = change.carry(late), change.topology
        kept = set(topology.keys()[change.old_position >= 0].tolist())
        by_key = {key: by_key[key] if key in dropped & kept else 0.0 for key in topology.keys().tolist()}
    assert late.tolist() == list(by_key.values())
    assert 0.1 < np.count_nonzero(late) / late.size < 0.5


@pytest.mark.parametrize(
    ("epsilon", "n_in", "n_out", "density"),
    [(20, 784, 1000, 20 * 1784 / 784_000), (20, 1000, 10, 1.0), (10, 1, 1, 1.0), (1e-9, 10, 10, 2e-10)],
)
def test_density_follows_from_epsilon_and_is_at_most_one(epsilon, n_in, n_out, density):
    assert erdos_renyi_density(epsilon, n_in, n_out) == pytest.approx(density)


def test_an_index_that_is_given_back_is_made_again(make_topology):
    topology = make_topology(43, 37)
    first = topology.transposed
    topology.forget_transposed()
    topology.forget_transposed()
    assert topology.transposed is not first
    np.testing.assert_array_equal(topology.transposed.outs, first.outs)
    np.testing.assert_array_equal(topology.transposed.position, first.position)


def test_the_fan_out_counts_all_connections_or_those_marked(make_topology):
    topology = make_topology(43, 37)
    dense = topology.matrix(np.ones(topology.n_connections, np.float32)).toarray()
    np.testing.assert_array_equal(topology.fan_out(), dense.sum(axis=0))
    marked = np.arange(topology.n_connections) % 3 == 0
    np.testing.assert_array_equal(topology.fan_out(marked), topology.matrix(marked.astype(np.float32)).toarray().sum(0))
