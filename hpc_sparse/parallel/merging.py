"""Replicas with different topologies brought together in one process, as a sync would do it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_sparse.dtypes import VALUE, AnyArray, Float32Array, Int64Array
from hpc_sparse.network.bfloat16 import as_type, widened
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.distinct_numbers import sorted_distinct
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.local_sgd import CutBack, kept_units, unit_scores


def merge_replicas(replicas: Sequence[Replica], targets: Sequence[int], cut_back: CutBack) -> Replica:
    """The average of replicas over the union of their connections, cut back to size (phase 2 of WASAP-SGD).

    Parameters
    ----------
    replicas : sequence of Replica
        With the same neurons and kinds of layers, and any connections.
    targets : sequence of int
        Connections afterwards at each place; at most as many as the union has.
    cut_back : callable
        Which of the averaged connections stay: see :data:`hpc_sparse.parallel.local_sgd.CutBack`.
    """
    first = replicas[0]
    merged = Replica(first.network.copy(), [state.copy() for state in first.states])
    left = iter(targets)
    for number, layer in enumerate(merged.network.layers):
        of_layer = {name: next(left) for name in layer.connections()}
        _merge_layer(merged, number, [replica.network for replica in replicas], replicas, of_layer, cut_back)
    return merged


def _merge_layer(
    merged: Replica,
    number: int,
    networks: Sequence[Network],
    replicas: Sequence[Replica],
    targets: dict[str, int],
    cut_back: CutBack,
) -> None:
    layers, states = [network.layers[number] for network in networks], [each.states[number] for each in replicas]
    parameters = layers[0].parameters()
    values, topologies = dict[str, Float32Array](), dict[str, Topology]()
    merged_state: dict[str, dict[str, AnyArray]] = {name: {} for name in states[0].values}
    for owner, target in targets.items():
        connections = [layer.connections()[owner] for layer in layers]
        each_keys = [each.topology.keys() for each in connections]
        keys = sorted_distinct(np.concatenate(each_keys))
        places = [np.searchsorted(keys, own) for own in each_keys]
        is_kept = None
        for name in [name for name, parameter in parameters.items() if parameter.connections == owner]:
            weights = _mean_over_union([layer.parameters()[name].values for layer in layers], places, keys.size)
            if is_kept is None:
                scores, n_left = unit_scores(weights.reshape(-1), keys.size), min(target, keys.size)
                is_kept = kept_units(connections[0].topology, keys, scores, n_left, cut_back)
            values[name] = weights[is_kept].reshape(-1)
            for array, own in merged_state.items():
                each_state = [widened(state[array][name]) for state in states]
                united = _mean_over_union(each_state, places, keys.size)[is_kept].reshape(-1)
                own[name] = as_type(united, states[0][array][name].dtype.type)
        before = connections[0].topology
        topologies[owner] = Topology.from_keys(before.shape, keys[is_kept], before.groups)
    for name, parameter in parameters.items():
        if parameter.connections is None:
            values[name] = _mean([layer.parameters()[name].values for layer in layers])
            for array, own in merged_state.items():
                own[name] = _mean([state[array][name] for state in states])
    merged.network.layers[number].rewire(layers[0].shape, topologies, values)
    ordered = {array: {name: own[name] for name in parameters} for array, own in merged_state.items()}
    merged.states[number] = OptimizerState(ordered)


def _mean_over_union(arrays: Sequence[Float32Array], places: Sequence[Int64Array], n_units: int) -> Float32Array:
    """float32[n_units, values per unit]; where a replica has no connection, it counts as 0."""
    n_values = max(array.size // max(1, place.size) for array, place in zip(arrays, places, strict=True))
    total = np.zeros((n_units, max(1, n_values)), VALUE)
    for array, place in zip(arrays, places, strict=True):
        total[place] += array.reshape(-1, total.shape[1]) / VALUE(len(arrays))
    return total


def _mean(arrays: Sequence[Float32Array]) -> Float32Array:
    """The mean as a sync takes it: each part divided in float32, then added up in the order of the replicas."""
    total = np.zeros(arrays[0].size, VALUE)
    for array in arrays:
        total += array / VALUE(len(arrays))
    return total
