"""Bounds of initial weights by layer width and fan-in."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.network.connections.initial_weights import UNIFORM_BOUNDS, draw_weights
from hpc_sparse.network.connections.topology import Topology

KEY = np.uint64(5)


def test_bounds_are_those_of_the_sources(make_topology):
    topology = make_topology(43, 37)
    fan_in = np.arange(43) % 21
    expected = {
        "he_uniform": np.full(43, np.sqrt(6 / 37)),
        "xavier_uniform": np.full(43, np.sqrt(6 / 80)),
        "he_fan_in": np.sqrt(6 / np.where(fan_in == 0, 1, fan_in)),
    }
    assert UNIFORM_BOUNDS.keys() == expected.keys()
    for name, bound in expected.items():
        np.testing.assert_allclose(UNIFORM_BOUNDS[name](topology), bound)


@pytest.mark.parametrize("name", list(UNIFORM_BOUNDS))
def test_weights_fill_their_bounds(name):
    topology = Topology.random((200, 300), 0.2, np.uint64(1))
    relative = draw_weights(name, topology, KEY) / np.repeat(UNIFORM_BOUNDS[name](topology), topology.fan_in())
    assert 0.999 < np.abs(relative).max() <= 1 + 1e-6
    assert abs(relative.mean()) < 4 / np.sqrt(3 * relative.size)
    assert relative.var() == pytest.approx(1 / 3, rel=0.05)


def test_normal_weights_have_the_released_deviation():
    weight = draw_weights("normal", Topology.random((200, 300), 0.2, np.uint64(1)), KEY)
    assert weight.std() == pytest.approx(0.1, rel=0.05)
    assert np.isfinite(weight).all()
