"""Expected sizes of networks, against networks that are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.planning.network_size import LayerSize, NetworkSize
from hpc_sparse.training.replica_states import (
    random_replica,
)

N_INPUTS, N_OUTPUTS = 500, 7


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("network.epsilon=0.5",),
        ("network.density=0.001",),
        ("network.density=0.002", "network.budget=erdos_renyi"),
        ("network.initial_topology=constant_fan_in",),
        ("network.initial_topology=lognormal_fan_in",),
        ("network.hidden=[]",),
    ],
)
def test_a_drawn_network_has_the_expected_size(wide_config, overrides):
    config = wide_config(*overrides)
    network = random_replica(config, N_INPUTS, N_OUTPUTS).network
    expected = NetworkSize.expected(config.network, N_INPUTS, N_OUTPUTS)
    drawn = NetworkSize.of_layers((layer.topology.shape, layer.topology.n_connections) for layer in network.layers)
    assert expected.widths == drawn.widths == network.widths
    assert (drawn.n_neurons, drawn.n_connections) == (network.n_neurons, network.n_connections)
    assert drawn.n_parameters == network.n_parameters
    for mean, real in zip(expected.layers, drawn.layers, strict=True):
        assert abs(mean.n_connections - real.n_connections) <= 5 * np.sqrt(mean.n_connections)
        assert mean.is_dense == real.is_dense


def test_a_fixed_number_of_inputs_is_counted_exactly(wide_config):
    config = wide_config("network.initial_topology=constant_fan_in")
    network = random_replica(config, N_INPUTS, N_OUTPUTS).network
    assert NetworkSize.expected(config.network, N_INPUTS, N_OUTPUTS).n_connections == network.n_connections


def test_a_layer_with_every_connection_is_dense():
    assert LayerSize(7, 11, 77).is_dense
    assert not LayerSize(7, 11, 76).is_dense
