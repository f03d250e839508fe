"""Initial topologies: sizes of layers and neurons, and which connections."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hpc_sparse.network.apportion import apportion
from hpc_sparse.network.connections.initial_topology import draw_topology, erdos_renyi_densities

FAN_IN_PATTERNS = ["constant_fan_in", "lognormal_fan_in"]


@pytest.mark.parametrize("pattern", FAN_IN_PATTERNS)
@pytest.mark.parametrize(
    ("shape", "density"),
    [((40, 30), 0.1), ((40, 30), 0.9), ((40, 30), 1.0), ((1, 50), 0.5), ((50, 1), 0.5), ((7, 9), 0.6)],
)
def test_topologies_are_sound_and_of_the_density_asked_for(pattern, shape, density):
    topology = draw_topology(pattern, shape, density, np.uint64(5))
    topology.check()
    if pattern == "constant_fan_in":
        assert set(topology.fan_in().tolist()) == {max(1, round(density * shape[1]))}
    else:
        assert topology.n_connections == round(density * shape[0] * shape[1])
        assert topology.fan_in().min() >= min(1, topology.n_connections // shape[0])


def test_a_lognormal_fan_in_is_wide_and_a_random_one_is_not():
    lognormal, random = (
        draw_topology(pattern, (2000, 5000), 0.02, np.uint64(3)).fan_in()
        for pattern in ("lognormal_fan_in", "erdos_renyi")
    )
    assert np.log(lognormal).std() == pytest.approx(0.5, rel=0.1)
    assert random.std() == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("pattern", ["small_world", "scale_free", "covering"])
@pytest.mark.parametrize(
    ("shape", "density"),
    [
        ((40, 30), 0.1),
        ((30, 41), 0.1),
        ((40, 30), 0.9),
        ((40, 30), 1.0),
        ((1, 50), 0.5),
        ((50, 1), 0.5),
        ((300, 7), 0.02),
    ],
)
def test_graphs_are_sound_of_the_density_asked_for_and_depend_on_the_key_alone(pattern, shape, density):
    topology = draw_topology(pattern, shape, density, np.uint64(5))
    topology.check()
    assert topology.n_connections == round(density * shape[0] * shape[1])
    again, other = (draw_topology(pattern, shape, density, np.uint64(seed)).keys().tolist() for seed in (5, 6))
    assert topology.keys().tolist() == again
    assert again != other or topology.n_connections in {1, shape[0] * shape[1]} or 1 in shape


@pytest.mark.parametrize("shape", [(300, 200), (200, 300)])
def test_a_small_world_is_a_ring_with_short_cuts(shape):
    """Distances along the ring, as shares of it: at most half the fan without rewiring, uniform with all rewired."""

    def distances(rewired):
        topology = draw_topology("small_world", shape, 0.05, np.uint64(2), rewired)
        places = topology.outs() / shape[0], topology.indices / shape[1]
        apart = np.abs(places[0] - places[1])
        return np.minimum(apart, 1 - apart)

    assert distances(0.0).max() < 0.05 / 2 + 2 / 200
    assert np.mean(distances(0.2) > 0.04) == pytest.approx(0.2 * 0.92, abs=0.03)
    assert np.mean(distances(1.0)) == pytest.approx(0.25, abs=0.02)
    topology = draw_topology("small_world", shape, 0.05, np.uint64(2), 0.0)
    assert topology.fan_in().min() > 0
    assert topology.fan_out().min() > 0


def test_degrees_of_a_scale_free_graph_fall_by_a_power_law_on_both_sides():
    """The share of neurons with at least k connections falls as k^-2 where degrees have the exponent 3."""
    topology = draw_topology("scale_free", (6000, 5000), 0.002, np.uint64(4))
    for degrees in (topology.fan_in(), topology.fan_out()):
        most = np.sort(degrees)[::-1]
        ranks = np.arange(20, 600)
        slope = np.polyfit(np.log(most[ranks]), np.log(ranks), 1)[0]
        assert slope == pytest.approx(-2, abs=0.35)
        assert degrees.max() > 15 * np.median(degrees)


@pytest.mark.parametrize(
    ("shape", "n_connections", "least_in", "least_out"),
    [
        ((300, 200), 600, 2, 2),
        ((300, 200), 1500, 2, 1),
        ((200, 900), 900, 2, 1),
        ((200, 900), 400, 2, 0),
        ((200, 900), 250, 1, 0),
        ((9, 1), 9, 1, 9),
        ((3, 2), 6, 2, 3),
        ((1000, 1000), 2, 0, 0),
    ],
)
def test_a_covering_topology_leaves_out_nobody_if_there_are_enough_connections(
    shape, n_connections, least_in, least_out
):
    for seed in range(5):
        topology = draw_topology("covering", shape, n_connections / (shape[0] * shape[1]), np.uint64(seed))
        topology.check()
        assert topology.n_connections == n_connections
        assert topology.fan_in().min() >= least_in
        assert topology.fan_out().min() >= least_out


def test_what_a_covering_topology_adds_is_anywhere():
    topology = draw_topology("covering", (2000, 2000), 10 / 2000, np.uint64(3))
    # Two of ten inputs are certain, eight as in a random topology; of ten neurons, too.
    assert topology.fan_in().std() == pytest.approx(np.sqrt(8), rel=0.1)
    assert topology.fan_out().std() == pytest.approx(np.sqrt(8), rel=0.1)


@pytest.mark.parametrize("pattern", FAN_IN_PATTERNS)
@pytest.mark.parametrize("density", [0.3, 0.8])
def test_every_column_is_equally_likely(pattern, density):
    n_draws, times = 400, np.zeros((6, 20))
    for seed in range(n_draws):
        topology = draw_topology(pattern, (6, 20), density, np.uint64(seed))
        times.reshape(-1)[topology.keys()] += 1
    share = times.sum(axis=1, keepdims=True) / 20 / n_draws
    chi_square = ((times - n_draws * share) ** 2 / (n_draws * share * (1 - share))).sum()
    assert abs(chi_square - 120) < 5 * np.sqrt(240)


@pytest.mark.parametrize("pattern", [*FAN_IN_PATTERNS, "erdos_renyi", "covering"])
def test_the_key_alone_decides(pattern):
    one, same, other = (draw_topology(pattern, (40, 30), 0.2, np.uint64(seed)).keys() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("density", "widths"), [(0.05, [784, 1000, 1000, 10]), (0.4, [784, 300, 10]), (0.9, [20, 30, 3])]
)
def test_erdos_renyi_densities_together_make_the_density_asked_for(density, widths):
    found = np.array(erdos_renyi_densities(density, widths))
    sizes = np.array([n_in * n_out for n_in, n_out in pairwise(widths)])
    assert (found * sizes).sum() == pytest.approx(density * sizes.sum())
    assert (found <= 1).all()
    proportion = np.array([n_in + n_out for n_in, n_out in pairwise(widths)]) / sizes
    factor = (found / proportion)[found < 1]
    np.testing.assert_allclose(factor, factor[:1].repeat(factor.size))


def test_a_dense_network_stays_dense():
    assert erdos_renyi_densities(1.0, [5, 6, 7]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("n", "share", "capacity", "expected"),
    [
        (10, [1, 1, 2], [9, 9, 9], [3, 2, 5]),
        (10, [1, 1, 2], [9, 9, 3], [4, 3, 3]),
        (10, [0, 0, 0], [9, 9, 9], [4, 3, 3]),
        (10, [1, 0, 0], [4, 9, 9], [4, 3, 3]),
        (99, [1, 2, 3], [4, 5, 6], [4, 5, 6]),
        (0, [1, 2], [4, 5], [0, 0]),
        (1, [0.2, 0.3, 0.5], [4, 5, 0], [0, 1, 0]),
    ],
)
def test_a_number_is_shared_out_in_proportion_within_capacities(n, share, capacity, expected):
    assert apportion(n, np.array(share, float), np.array(capacity)).tolist() == expected


def test_random_numbers_are_shared_out_whole():
    rng = np.random.default_rng(4)
    for _ in range(200):
        share, capacity = rng.random(7) ** 8, rng.integers(0, 50, 7)
        n = int(rng.integers(0, 300))
        given = apportion(n, share, capacity)
        assert given.sum() == min(n, capacity.sum())
        assert ((given >= 0) & (given <= capacity)).all()
