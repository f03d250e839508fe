"""All parameters in one vector: where they are, and that layers and velocities live in it."""

from __future__ import annotations

import numpy as np

from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.network import Network
from hpc_sparse.network.parameters import ParameterLayout, gather_network, gather_states
from hpc_sparse.network.replica import Replica


def make_network(seed=3):
    network = Network.random([7, 5, 6, 3], [0.5, 0.4, 1.0], activation="relu", alpha=0, initializer="normal", seed=seed)
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        layer.bias = rng.standard_normal(layer.bias.size).astype(np.float32)
    # A layer without connections keeps its place.
    middle = network.layers[1]
    values = {"weight": np.empty(0, np.float32), "bias": middle.bias}
    middle.rewire(middle.shape, {"input": Topology.empty(middle.shape)}, values)
    return network


def parameters(network):
    return [layer.weight for layer in network.layers] + [layer.bias for layer in network.layers]


def test_weights_of_all_layers_come_before_all_biases():
    network = make_network()
    layout = ParameterLayout.of(network)
    expected = np.concatenate(parameters(network))
    assert layout.n_parameters == expected.size == network.n_parameters
    assert layout.n_decayed == network.n_connections
    vector = gather_network(network)
    np.testing.assert_array_equal(vector, expected)
    views = layout.views(vector)
    assert len(views) == 3
    for layer, view in zip(network.layers, views, strict=True):
        assert list(view) == ["weight", "bias"]
        np.testing.assert_array_equal(view["weight"], layer.weight)
        np.testing.assert_array_equal(view["bias"], layer.bias)


def test_what_changes_in_the_vector_changes_in_the_layers():
    network = make_network()
    vector = gather_network(network)
    vector *= 2
    np.testing.assert_array_equal(np.concatenate(parameters(network)), vector)
    network.layers[2].bias[1] = 77
    assert vector[-2] == 77


def test_gathering_again_keeps_the_values_and_leaves_the_old_vector_alone():
    network = make_network()
    first = gather_network(network)
    before = first.copy()
    second = gather_network(network)
    np.testing.assert_array_equal(first, second)
    second[:] = 0
    np.testing.assert_array_equal(first, before)


def test_velocities_live_in_a_vector_of_the_same_layout():
    network = make_network()
    replica = Replica.at_rest(network)
    for number, state in enumerate(replica.states):
        state["velocity"]["weight"][:], state["velocity"]["bias"][:] = 10 + number, 20 + number
    vector = gather_states(replica)["velocity"]
    sizes = [array.size for array in parameters(network)]
    assert vector.tolist() == [
        value for value, n in zip((10, 11, 12, 20, 21, 22), sizes, strict=True) for _ in range(n)
    ]
    vector += 1
    assert replica.states[2]["velocity"]["weight"].tolist() == [13] * sizes[2]
    assert replica.states[0]["velocity"]["bias"].tolist() == [21] * sizes[3]
