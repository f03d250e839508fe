"""Replicas brought together in one process, against dense float64 arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.selection import resparsify
from hpc_sparse.evolution.strategies.set import replace_weakest
from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.bfloat16 import narrowed, widened
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.merging import merge_replicas


def make_replica(seed, *, evolves=True):
    """Replica of one network with random values; ``evolves``: with hidden layers of its own."""
    network = Network.random([13, 21, 17, 3], [0.3, 0.2, 1.0], activation="relu", alpha=0, initializer="normal", seed=1)
    rng = np.random.default_rng(seed)
    replica = Replica.at_rest(network)
    for number, layer in enumerate(network.layers[:-1] if evolves else ()):
        replica.follow(number, {"input": replace_weakest(layer.topology, layer.weight, 0.5, rng)})
    replica.states.clear()
    for layer in network.layers:
        layer.weight = rng.standard_normal(layer.weight.size).astype(np.float32)
        layer.bias = rng.standard_normal(layer.bias.size).astype(np.float32)
        parts = (rng.standard_normal(array.size).astype(np.float32) for array in (layer.weight, layer.bias))
        replica.states.append(OptimizerState({"velocity": dict(zip(("weight", "bias"), parts, strict=True))}))
    network.neuron_ids[0] = np.arange(1, 14, dtype=np.int32)
    return replica


def dense(topology, values):
    matrix = np.zeros(topology.shape)
    matrix.reshape(-1)[topology.keys()] = values
    return matrix


def targets_of(network):
    return [layer.topology.n_connections for layer in network.layers]


@pytest.mark.parametrize("width", machine.WIDTHS)
def test_the_average_keeps_the_width_of_the_tiles(width):
    replicas = [make_replica(seed) for seed in range(2)]
    for replica in replicas:
        replica.network.tile_width = width
    merged = merge_replicas(replicas, targets_of(replicas[0].network), resparsify)
    assert merged.network.tile_width == width


@pytest.mark.parametrize("n_replicas", [1, 2, 3])
def test_replicas_become_the_strongest_of_their_mean_over_the_union(n_replicas):
    replicas = [make_replica(seed) for seed in range(n_replicas)]
    targets = targets_of(replicas[0].network)
    merged = merge_replicas(replicas, targets, resparsify)
    assert targets_of(merged.network) == targets
    assert merged.network.neuron_ids[0].tolist() == replicas[0].network.neuron_ids[0].tolist()
    for number, (layer, state) in enumerate(zip(merged.network.layers, merged.states, strict=True)):
        layer.topology.check()
        parts = [(each.network.layers[number], each.states[number]["velocity"]) for each in replicas]
        weight = np.mean([dense(part.topology, part.weight) for part, _ in parts], axis=0).reshape(-1)
        mean_velocity = np.mean([dense(part.topology, own["weight"]) for part, own in parts], axis=0).reshape(-1)
        keys = layer.topology.keys()
        np.testing.assert_allclose(layer.weight, weight[keys], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state["velocity"]["weight"], mean_velocity[keys], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.bias, np.mean([part.bias for part, _ in parts], axis=0), rtol=1e-5, atol=1e-6)
        mean_velocity = np.mean([own["bias"] for _, own in parts], axis=0)
        np.testing.assert_allclose(state["velocity"]["bias"], mean_velocity, rtol=1e-5, atol=1e-6)
        for sign in (1, -1):
            is_dropped = sign * weight > 0
            is_dropped[keys] = False
            kept = sign * layer.weight[sign * layer.weight > 0]
            assert not is_dropped.any() or kept.min() >= (sign * weight[is_dropped]).max() - 1e-6


def test_biases_have_the_bits_of_a_sync_which_divides_each_part_before_it_adds_them_up():
    replicas = [make_replica(seed) for seed in range(3)]
    merged = merge_replicas(replicas, targets_of(replicas[0].network), resparsify)
    for number, layer in enumerate(merged.network.layers):
        expected = np.zeros(layer.bias.size, np.float32)
        for replica in replicas:
            expected += replica.network.layers[number].bias / np.float32(3)
        np.testing.assert_array_equal(layer.bias, expected)


def test_one_replica_is_itself():
    replica = make_replica(5)
    merged = merge_replicas([replica], targets_of(replica.network), resparsify)
    assert network_digest(merged.network) == network_digest(replica.network)
    for own, kept in zip(merged.states, replica.states, strict=True):
        assert own["velocity"].keys() == kept["velocity"].keys() == {"weight", "bias"}
        for name, values in kept["velocity"].items():
            np.testing.assert_array_equal(own["velocity"][name], values)


def test_what_is_merged_is_not_changed():
    replicas = [make_replica(seed) for seed in (1, 2)]
    before = [network_digest(replica.network) for replica in replicas]
    merged = merge_replicas(replicas, [10, 10, 10], resparsify).network
    assert targets_of(merged) == [10, 10, 10]
    for layer in merged.layers:
        layer.weight[:], layer.bias[:] = 0, 0
    assert [network_digest(replica.network) for replica in replicas] == before


def test_more_connections_than_the_union_has_cannot_be_kept():
    replicas = [make_replica(seed, evolves=False) for seed in (1, 2)]
    merged = merge_replicas(replicas, [10_000, 3, 51], resparsify)
    assert targets_of(merged.network) == [targets_of(replicas[0].network)[0], 3, 51]


def test_states_in_bfloat16_are_averaged_as_numbers():
    narrow, wide = ([make_replica(seed) for seed in range(2)] for _ in range(2))
    for replica, other in zip(narrow, wide, strict=True):
        for state, same in zip(replica.states, other.states, strict=True):
            velocity = state["velocity"]["weight"]
            state["velocity"]["weight"] = narrowed(velocity)
            same["velocity"]["weight"] = widened(narrowed(velocity))
    targets = targets_of(narrow[0].network)
    found, expected = (merge_replicas(each, targets, resparsify) for each in (narrow, wide))
    for state, same in zip(found.states, expected.states, strict=True):
        np.testing.assert_array_equal(state["velocity"]["weight"], narrowed(same["velocity"]["weight"]))
        np.testing.assert_array_equal(state["velocity"]["bias"], same["velocity"]["bias"])
