"""Replicas with different topologies brought together in one process, as a sync would do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.distinct_numbers import sorted_distinct
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.sgd import Velocity
from hpc_sparse.parallel.local_sgd import resparsify


def merge_replicas(
    networks: Sequence[Network], velocities: Sequence[list[Velocity]], targets: Sequence[int]
) -> tuple[Network, list[Velocity]]:
    """The average of replicas over the union of their connections, cut back to size (phase 2 of WASAP-SGD).

    Parameters
    ----------
    networks, velocities : sequences of the same length
        With the same neurons and activations, and any connections.
    targets : sequence of int
        Connections of each layer afterwards; at most as many as the union has.
    """
    layers, merged_velocities = [], []
    for number, target in enumerate(targets):
        layer, velocity = _merge_layer(
            [network.layers[number] for network in networks], [each[number] for each in velocities], target
        )
        layers.append(layer)
        merged_velocities.append(velocity)
    return Network(layers, list(networks[0].neuron_ids)), merged_velocities


def _merge_layer(
    layers: Sequence[SparseLayer], velocities: Sequence[Velocity], target: int
) -> tuple[SparseLayer, Velocity]:
    each_keys = [layer.topology.keys() for layer in layers]
    keys = sorted_distinct(np.concatenate(each_keys))
    places = [np.searchsorted(keys, own) for own in each_keys]
    factor = VALUE(len(layers))
    weight, weight_velocity = np.zeros(keys.size, VALUE), np.zeros(keys.size, VALUE)
    for layer, velocity, place in zip(layers, velocities, places, strict=True):
        weight[place] += layer.weight / factor
        weight_velocity[place] += velocity.weight / factor
    is_kept = resparsify(weight, min(target, keys.size))
    topology = Topology.from_keys(layers[0].topology.shape, keys[is_kept])
    bias = _mean([layer.bias for layer in layers])
    merged = replace(layers[0], topology=topology, weight=weight[is_kept], bias=bias)
    return merged, Velocity(weight_velocity[is_kept], _mean([velocity.bias for velocity in velocities]))


def _mean(arrays: Sequence[Float32Array]) -> Float32Array:
    return np.asarray(np.mean(arrays, axis=0, dtype=np.float64), VALUE)
