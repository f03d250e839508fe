"""SET: counts, what is kept and carried, and where connections grow."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.strategies.set import replace_weakest
from hpc_sparse.network.connections.topology import Topology


def evolve(topology, weight, drop_fraction=0.3, seed=1):
    return replace_weakest(topology, weight, drop_fraction, np.random.default_rng(seed))


def make_layer(shape, density, seed=1):
    topology = Topology.random(shape, density, np.uint64(seed))
    return topology, np.random.default_rng(seed).standard_normal(topology.n_connections).astype(np.float32)


@pytest.mark.parametrize("drop_fraction", [0.0, 0.05, 0.3, 0.99])
@pytest.mark.parametrize(
    ("shape", "density"), [((40, 30), 0.1), ((40, 30), 0.9), ((40, 30), 1.0), ((1, 50), 0.5), ((50, 1), 0.5)]
)
def test_the_weakest_share_of_each_sign_goes_and_as_many_come(shape, density, drop_fraction):
    topology, weight = make_layer(shape, density)
    change = evolve(topology, weight, drop_fraction)
    change.topology.check()
    assert change.topology.n_connections == topology.n_connections
    n_grown = 0
    stayed = np.zeros(weight.size, np.bool_)
    stayed[change.old_position[change.old_position >= 0]] = True
    for sign in (1, -1):
        own = np.flatnonzero(weight * sign > 0)
        n_drop = int(drop_fraction * own.size)
        weakest = own[np.argsort(weight[own] * sign)[:n_drop]]
        assert set(own[~stayed[own]].tolist()) == set(weakest.tolist())
        n_grown += n_drop
    assert change.n_grown == n_grown


def test_kept_connections_keep_their_place_and_weight():
    topology, weight = make_layer((40, 30), 0.3)
    change = evolve(topology, weight)
    old_key = np.append(topology.keys(), -1)[change.old_position]
    is_kept = change.old_position >= 0
    np.testing.assert_array_equal(change.topology.keys()[is_kept], old_key[is_kept])
    expected = np.where(is_kept, np.append(weight, 0)[change.old_position], 0)
    np.testing.assert_array_equal(change.carry(weight), expected)


def test_neither_topology_nor_weight_is_changed():
    topology, weight = make_layer((40, 30), 0.3)
    before = topology.indptr.tobytes(), topology.indices.tobytes(), weight.tobytes()
    evolve(topology, weight)
    assert before == (topology.indptr.tobytes(), topology.indices.tobytes(), weight.tobytes())


@pytest.mark.parametrize("density", [0.1, 0.9])
def test_connections_grow_uniformly_over_the_free_positions(density):
    topology, weight = make_layer((9, 11), density)
    n_draws, times = 3000, np.zeros(99)
    for seed in range(n_draws):
        change = evolve(topology, weight, seed=seed)
        times[change.topology.keys()[change.old_position < 0]] += 1
    kept = change.topology.keys()[change.old_position >= 0]
    assert (times[kept] == 0).all()
    free = np.delete(times, kept)
    share = change.n_grown / free.size
    expected, variance = n_draws * share, n_draws * share * (1 - share)
    chi_square = ((free - expected) ** 2 / variance).sum()
    assert abs(chi_square - free.size) < 4 * np.sqrt(2 * free.size)


@pytest.mark.parametrize("weight", [2.0, -2.0, 0.0])
def test_a_single_connection_stays(weight):
    topology = Topology.from_keys((4, 5), np.array([7]))
    change = evolve(topology, np.array([weight], np.float32))
    assert change.topology.keys().tolist() == [7]
    assert change.n_grown == 0


def test_a_layer_without_connections_stays_empty():
    change = evolve(Topology.from_keys((4, 5), np.array([], np.int64)), np.array([], np.float32))
    assert change.topology.n_connections == 0


def test_the_same_stream_gives_the_same_topology():
    topology, weight = make_layer((40, 30), 0.2)
    one, same, other = (evolve(topology, weight, seed=seed).topology.keys() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("n_target", [0, 1, 170, 338])
def test_a_layer_shrinks_to_exactly_its_target_in_proportion_of_the_signs(n_target):
    topology, weight = make_layer((40, 30), 0.3)
    change = replace_weakest(topology, weight, 0.2, np.random.default_rng(2), n_target)
    change.topology.check()
    assert change.topology.n_connections == n_target
    kept = weight[change.old_position[change.old_position >= 0]]
    n_dropped = [np.count_nonzero(sign * weight > 0) - np.count_nonzero(sign * kept > 0) for sign in (1, -1)]
    share = 0.2 + 1 - n_target / weight.size
    for sign, dropped in zip((1, -1), n_dropped, strict=True):
        n = np.count_nonzero(sign * weight > 0)
        assert abs(dropped - min(1, share) * n) <= 2
