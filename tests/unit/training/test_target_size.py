"""How far layers with several maps shrink: all their connections count."""

from __future__ import annotations

import pytest

from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.training.target_size import initial_size

LAYERS = 'network.layers=[{kind="recurrent", n=20, output="all"}, {kind="recurrent", n=10, cell="tanh", density=0.3}]'


def test_all_maps_count(make_config):
    config = make_config("network.hidden=[20, 10]", LAYERS, "evolution.final_density=0.1")
    size = NetworkSize.expected(config.network, 6, 3, 4)
    n_connections, at_end = initial_size(config, [6, 20, 10, 3])
    hidden = size.layers[:-1]
    n_possible = 3 * 20 * (6 + 20) + 10 * (20 + 10)
    assert n_connections == pytest.approx(sum(layer.n_connections for layer in hidden), abs=4)
    assert at_end * n_connections == pytest.approx(0.1 * n_possible)
