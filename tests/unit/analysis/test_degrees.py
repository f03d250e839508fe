"""Degree distributions, against dense sums and the binomial distribution."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from hpc_sparse.analysis import fan_in_distribution, fan_out_distribution
from hpc_sparse.network.connections.topology import Topology


@pytest.mark.parametrize("density", [0.0, 0.15, 1.0])
@pytest.mark.parametrize(("distribution", "axis"), [(fan_in_distribution, 0), (fan_out_distribution, 1)])
def test_degrees_are_the_sums_of_the_dense_mask(make_masks, to_topologies, distribution, axis, density):
    (mask,) = make_masks((31, 22), density)
    found = distribution(to_topologies([mask])[0])
    degrees = mask.sum(axis=axis)
    assert found.counts.tolist() == np.bincount(degrees).tolist()
    assert (found.n_neurons, found.n_possible) == (mask.shape[1 - axis], mask.shape[axis])
    assert (found.smallest, found.largest) == (degrees.min(), degrees.max())
    assert found.mean == pytest.approx(degrees.mean())
    assert found.deviation == pytest.approx(degrees.std())


def test_the_expectation_is_binomial():
    topology = Topology.random((40, 12), 0.3, np.uint64(2))
    found = fan_in_distribution(topology)
    p = topology.density
    expected = [40 * comb(12, k) * p**k * (1 - p) ** (12 - k) for k in range(13)]
    np.testing.assert_allclose(found.expected_counts(12), expected, rtol=1e-9)
    assert found.expected_deviation == pytest.approx(np.sqrt(12 * p * (1 - p)))
    counts = np.bincount(topology.fan_in(), minlength=13)
    assert found.difference == pytest.approx(np.abs(counts - expected).sum() / 80)


def test_a_random_topology_is_as_expected_and_a_regular_one_is_not():
    random = Topology.random((20_000, 1000), 0.02, np.uint64(1))
    assert fan_in_distribution(random).difference < 0.03
    assert fan_in_distribution(random).deviation == pytest.approx(
        fan_in_distribution(random).expected_deviation, rel=0.03
    )
    regular = Topology.from_keys((500, 1000), np.arange(0, 500_000, 50))
    assert (fan_in_distribution(regular).deviation, fan_in_distribution(regular).largest) == (0, 20)
    assert fan_in_distribution(regular).difference > 0.9


def test_a_dense_layer_is_what_chance_gives_at_density_1(make_masks, to_topologies):
    found = fan_out_distribution(to_topologies(make_masks((8, 5), 1.0))[0])
    assert (found.difference, found.expected_deviation) == (0, 0)
