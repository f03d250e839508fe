"""What is expected to carry a signal, against networks that are drawn."""

from __future__ import annotations

from statistics import mean

import pytest

from hpc_sparse.analysis.reach import effective_size
from hpc_sparse.network.network import Network
from hpc_sparse.planning.effective import expected_effective
from hpc_sparse.planning.network_size import NetworkSize


@pytest.mark.parametrize(
    "settings",
    [
        ("network.epsilon=0.5",),
        ("network.epsilon=1",),
        ("network.epsilon=3",),
        ("network.epsilon=0.5", "network.initial_topology=covering"),
        ("network.epsilon=1", "network.initial_topology=covering"),
        ("network.epsilon=2", "network.initial_topology=covering"),
        ("network.epsilon=1", "network.initial_topology=constant_fan_in"),
    ],
)
def test_the_expected_part_is_that_of_a_network_at_random(make_config, settings):
    config = make_config("network.hidden=[4000, 5000, 4000, 3000]", *settings).network
    expected = expected_effective(NetworkSize.expected(config, 2000, 10), config.initial_topology)
    networks = [Network.from_config(config, 2000, 10, seed=seed) for seed in range(8)]
    found = [effective_size(network) for network in networks]
    assert expected is not None
    assert mean(each.n_neurons for each in found) == pytest.approx(expected.neurons, rel=0.03)
    assert mean(each.n_connections for each in found) == pytest.approx(expected.connections, rel=0.03)
    assert expected.share_of_neurons == pytest.approx(expected.neurons / networks[0].n_neurons, rel=1e-3)
    assert expected.share_of_connections == pytest.approx(expected.connections / networks[0].n_connections, rel=0.05)


def test_a_covering_network_of_two_inputs_a_neuron_is_effective_as_a_whole(make_config):
    config = make_config(
        "network.hidden=[4000, 4000]", "network.epsilon=2", "network.initial_topology=covering"
    ).network
    size = NetworkSize.expected(config, 4000, 10)
    found = expected_effective(size, "covering")
    assert (found.neurons, found.share_of_neurons) == (size.n_neurons, 1.0)
    assert found.connections == size.n_connections


@pytest.mark.parametrize(
    "settings",
    [
        ("network.connections=block", "network.block=[8, 8]"),
        ("network.initial_topology=small_world",),
        ("network.initial_topology=snip",),
    ],
)
def test_nothing_is_said_of_what_does_not_follow_from_numbers_of_single_connections(make_config, settings):
    config = make_config("network.hidden=[64, 64]", *settings).network
    assert expected_effective(NetworkSize.expected(config, 64, 10), config.initial_topology) is None
