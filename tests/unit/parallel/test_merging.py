"""Replicas brought together in one process, against dense float64 arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.strategies.set import replace_weakest
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.sgd import Velocity
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.merging import merge_replicas


def make_replica(seed, *, evolves=True):
    """Of one network with random values, and hidden layers of its own."""
    network = Network.random([13, 21, 17, 3], [0.3, 0.2, 1.0], activation="relu", alpha=0, initializer="normal", seed=1)
    rng = np.random.default_rng(seed)
    for layer in network.layers[:-1] if evolves else ():
        layer.follow(replace_weakest(layer.topology, layer.weight, 0.5, rng))
    velocities = []
    for layer in network.layers:
        layer.weight = rng.standard_normal(layer.weight.size).astype(np.float32)
        layer.bias = rng.standard_normal(layer.bias.size).astype(np.float32)
        parts = (rng.standard_normal(array.size).astype(np.float32) for array in (layer.weight, layer.bias))
        velocities.append(Velocity(*parts))
    network.neuron_ids[0] = np.arange(1, 14, dtype=np.int32)
    return network, velocities


def dense(topology, values):
    matrix = np.zeros(topology.shape)
    matrix.reshape(-1)[topology.keys()] = values
    return matrix


def targets_of(network):
    return [layer.topology.n_connections for layer in network.layers]


@pytest.mark.parametrize("n_replicas", [1, 2, 3])
def test_replicas_become_the_strongest_of_their_mean_over_the_union(n_replicas):
    networks, velocities = zip(*(make_replica(seed) for seed in range(n_replicas)), strict=True)
    targets = targets_of(networks[0])
    merged, merged_velocities = merge_replicas(networks, velocities, targets)
    assert targets_of(merged) == targets
    assert merged.neuron_ids[0].tolist() == networks[0].neuron_ids[0].tolist()
    for number, (layer, velocity) in enumerate(zip(merged.layers, merged_velocities, strict=True)):
        layer.topology.check()
        parts = [(network.layers[number], own[number]) for network, own in zip(networks, velocities, strict=True)]
        weight = np.mean([dense(part.topology, part.weight) for part, _ in parts], axis=0).reshape(-1)
        mean_velocity = np.mean([dense(part.topology, own.weight) for part, own in parts], axis=0).reshape(-1)
        keys = layer.topology.keys()
        np.testing.assert_allclose(layer.weight, weight[keys], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(velocity.weight, mean_velocity[keys], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.bias, np.mean([part.bias for part, _ in parts], axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(velocity.bias, np.mean([own.bias for _, own in parts], axis=0), rtol=1e-5, atol=1e-6)
        for sign in (1, -1):
            is_dropped = sign * weight > 0
            is_dropped[keys] = False
            kept = sign * layer.weight[sign * layer.weight > 0]
            assert not is_dropped.any() or kept.min() >= (sign * weight[is_dropped]).max() - 1e-6


def test_one_replica_is_itself():
    network, velocities = make_replica(5)
    merged, merged_velocities = merge_replicas([network], [velocities], targets_of(network))
    assert network_digest(merged) == network_digest(network)
    for own, kept in zip(merged_velocities, velocities, strict=True):
        np.testing.assert_array_equal(own.weight, kept.weight)
        np.testing.assert_array_equal(own.bias, kept.bias)


def test_what_is_merged_is_not_changed():
    replicas = [make_replica(seed) for seed in (1, 2)]
    before = [network_digest(network) for network, _ in replicas]
    networks, velocities = zip(*replicas, strict=True)
    merged, _ = merge_replicas(networks, velocities, [10, 10, 10])
    assert targets_of(merged) == [10, 10, 10]
    for layer in merged.layers:
        layer.weight[:], layer.bias[:] = 0, 0
    assert [network_digest(network) for network in networks] == before


def test_more_connections_than_the_union_has_cannot_be_kept():
    networks, velocities = zip(*(make_replica(seed, evolves=False) for seed in (1, 2)), strict=True)
    merged, _ = merge_replicas(networks, velocities, [10_000, 3, 51])
    assert targets_of(merged) == [targets_of(networks[0])[0], 3, 51]
