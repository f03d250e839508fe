"""Reports of the commands ``analyze``: findings about the networks of checkpoints, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpc_sparse.analysis.checkpoints import (
    StoredTopology,
    in_common_numbers,
    read_all_topologies,
    read_one_topology,
)
from hpc_sparse.analysis.degrees import DegreeDistribution, fan_in_distribution, fan_out_distribution
from hpc_sparse.analysis.distance import TopologyDistance, pairwise_distances
from hpc_sparse.analysis.overlap import explored_connections, shared_connections
from hpc_sparse.analysis.paths import count_paths
from hpc_sparse.analysis.reach import find_reach
from hpc_sparse.dtypes import Float64Array, Int64Array
from hpc_sparse.errors import InputError
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.feature_summary import read_feature_names

Report = dict[str, Any]

MOST_INPUTS = 20
"""Inputs that are named."""


def report_distances(ctx: ParallelContext, paths: Sequence[Path], replica: int | None, exact_width: int) -> Report:
    """The distance of every two networks of some checkpoints, replicas included (collective).

    Raises
    ------
    InputError
        On every rank: a file is not what it should be, or the networks cannot be compared.
    """
    networks = read_all_topologies(ctx, paths, replica)
    if len(networks) < 2:
        raise InputError(f"{networks[0].name}: one network: expected at least two to compare")
    distances = pairwise_distances(ctx, in_common_numbers(networks), exact_width=exact_width)
    return {
        "networks": [
            {"number": number, "name": each.name, "epoch": each.epoch, "connections": each.n_connections}
            for number, each in enumerate(networks)
        ],
        "distances": [_distance_record(pair, distance) for pair, distance in distances.items()],
    }


def report_overlap(paths: Sequence[Path], replica: int | None) -> Report:
    """Connections that a series of checkpoints shares, and the number explored.

    Raises
    ------
    InputError
        A file is not what it should be, or the networks cannot be compared.
    """
    if len(paths) < 2:
        raise InputError("one checkpoint: expected at least two, of different times")
    networks = [read_one_topology(path, replica) for path in paths]
    networks.sort(key=lambda network: network.epoch)
    series = in_common_numbers(networks)
    explored = np.array(explored_connections(series))
    by_layer = [
        {"epoch": network.epoch, "layer": layer + 1, **record}
        for layer in range(len(series[0]))
        for network, record in zip(networks, _overlap_records(series, explored, [layer]), strict=True)
    ]
    sparse = _sparse_layers(series)
    return {
        "checkpoints": [network.name for network in networks],
        "sparse_layers": [
            {"epoch": network.epoch, **record}
            for network, record in zip(networks, _overlap_records(series, explored, sparse), strict=True)
        ],
        "by_layer": by_layer,
    }


def report_degrees(path: Path, replica: int | None, data: Path | None = None) -> Report:
    """Degrees of the neurons of a checkpoint beside the random expectation.

    With the data set it was trained on, also the inputs of most connections, by the names of their features.

    Raises
    ------
    InputError
        A file is not what it should be, or the data set names no features, or too few.
    """
    network = read_one_topology(path, replica)
    inputs = {} if data is None else {"inputs": _most_connected_inputs(network, data)}
    found = [
        (layer, direction, distribution(topology))
        for layer, topology in enumerate(network.topologies, 1)
        for direction, distribution in (("in", fan_in_distribution), ("out", fan_out_distribution))
    ]
    return {
        **_heading(network),
        **inputs,
        "degrees": [_degree_record(*each) for each in found],
        "distributions": [_distribution_record(*each) for each in found],
    }


def report_paths(path: Path, replica: int | None) -> Report:
    """Paths from the inputs to the outputs of a checkpoint.

    Raises
    ------
    InputError
        The file is not what it should be.
    """
    network = read_one_topology(path, replica)
    paths = count_paths(network.topologies)
    return {
        **_heading(network),
        "paths": paths.total,
        "expected_paths": paths.expected_total,
        "connected_pairs": paths.connectivity,
        "neurons": [
            {"end": "inputs", **_quartiles(paths.from_input)},
            {"end": "outputs", **_quartiles(paths.to_output)},
        ],
        "from_input": paths.from_input.tolist(),
        "to_output": paths.to_output.tolist(),
        "outputs_reached": paths.n_outputs_reached.tolist(),
    }


def report_summary(path: Path, replica: int | None) -> Report:
    """Size, dead neurons and effective connections of a checkpoint.

    Raises
    ------
    InputError
        The file is not what it should be.
    """
    network = read_one_topology(path, replica)
    reach = find_reach(network.topologies)
    n_possible = sum(topology.shape[0] * topology.shape[1] for topology in network.topologies)
    neurons = [
        {
            "layer": _layer_name(number, len(network.topologies)),
            "neurons": width,
            "removed": original - width,
            "without_incoming": _n_false(reach.has_incoming[number]),
            "without_outgoing": _n_false(reach.has_outgoing[number]),
            "not_reached": _n_false(reach.is_reached[number]),
            "not_used": _n_false(reach.is_used[number]),
            "dead": int(reach.is_dead[number].sum()),
        }
        for number, (width, original) in enumerate(zip(network.widths, network.original_widths, strict=True))
    ]
    return {
        **_heading(network),
        "connections": network.n_connections,
        "density": network.n_connections / n_possible,
        "effective_connections": int(reach.n_effective.sum()),
        "effective_density": int(reach.n_effective.sum()) / n_possible,
        "connected_pairs": count_paths(network.topologies).connectivity,
        "neurons": neurons,
        "connections_by_layer": [
            {
                "layer": layer,
                "connections": topology.n_connections,
                "density": topology.density,
                "effective": int(n_effective),
                "mean_fan_in": topology.n_connections / topology.shape[0],
                "mean_fan_out": topology.n_connections / topology.shape[1],
            }
            for layer, (topology, n_effective) in enumerate(zip(network.topologies, reach.n_effective, strict=True), 1)
        ],
    }


def _most_connected_inputs(network: StoredTopology, data: Path) -> list[Report]:
    names = read_feature_names(data)
    if names is None:
        raise InputError(f"{data}: its features have no names")
    if len(names) < network.original_widths[0] or (len(names) > network.widths[0] and not network.has_lost_inputs):
        raise InputError(f"{data}: {len(names)} features: {network.name} was trained on {network.original_widths[0]}")
    topology, ids = network.topologies[0], network.neuron_ids[0]
    connections = topology.fan_out()
    strongest = np.argsort(-connections, kind="stable")[:MOST_INPUTS]
    numbers = strongest if ids is None else ids[strongest]
    return [
        {"input": names[number], "number": number, "connections": count}
        for number, count in zip(numbers.tolist(), connections[strongest].tolist(), strict=True)
    ]


def _heading(network: StoredTopology) -> Report:
    return {"checkpoint": network.name, "epoch": network.epoch, "widths": "-".join(map(str, network.widths))}


def _distance_record(pair: tuple[int, int], distance: TopologyDistance) -> Report:
    layers = {f"layer_{number}": value for number, value in enumerate(distance.per_layer, 1)}
    hidden = distance.per_layer[:-1]
    return {
        "first": pair[0],
        "second": pair[1],
        **layers,
        "mean": distance.mean,
        "mean_without_last": float(np.mean(hidden)) if hidden else None,
        "excess": max(distance.excess),
    }


def _overlap_records(series: Sequence[Sequence[Topology]], explored: Int64Array, layers: list[int]) -> list[Report]:
    """A record per network of a series, of some of its layers; ``explored`` int64[n_networks, n_layers]."""
    chosen = [[topologies[layer] for layer in layers] for topologies in series]
    n_possible = sum(topology.shape[0] * topology.shape[1] for topology in chosen[0])
    records = []
    for number, topologies in enumerate(chosen):
        with_last = shared_connections(topologies, chosen[-1])
        with_previous = shared_connections(topologies, chosen[number - 1]) if number else None
        records.append(
            {
                "connections": int(with_last.n_own.sum()),
                "overlap_with_last": with_last.overlap,
                "by_chance": with_last.chance_overlap,
                "iou_with_last": with_last.intersection_over_union,
                "iou_with_previous": None if with_previous is None else with_previous.intersection_over_union,
                "explored": float(explored[number, layers].sum() / n_possible),
            }
        )
    return records


def _sparse_layers(series: Sequence[Sequence[Topology]]) -> list[int]:
    """Layers that are not dense throughout, whose connections have no choice; all if there is no other."""
    by_layer = zip(*series, strict=True)
    sparse = [number for number, layers in enumerate(by_layer) if any(layer.density < 1 for layer in layers)]
    return sparse or list(range(len(series[0])))


def _degree_record(layer: int, direction: str, found: DegreeDistribution) -> Report:
    return {
        "layer": layer,
        "direction": direction,
        "neurons": found.n_neurons,
        "mean": found.mean,
        "deviation": found.deviation,
        "expected_deviation": found.expected_deviation,
        "smallest": found.smallest,
        "largest": found.largest,
        "unconnected": int(found.counts[0]),
        "expected_unconnected": float(found.expected_counts(0)[0]),
        "difference": found.difference,
    }


def _distribution_record(layer: int, direction: str, found: DegreeDistribution) -> Report:
    """As far as neurons have been found or could be expected."""
    largest = min(found.n_possible, max(found.largest, round(found.mean + 4 * found.expected_deviation)))
    counts = np.pad(found.counts, (0, largest - found.largest))
    expected = found.expected_counts(largest)
    return {"layer": layer, "direction": direction, "counts": counts.tolist(), "expected": expected.tolist()}


def _quartiles(counts: Float64Array) -> Report:
    names = ("fewest", "quarter", "median", "three_quarters", "most")
    found = dict(zip(names, np.quantile(counts, [0, 0.25, 0.5, 0.75, 1]).tolist(), strict=True))
    return {"neurons": counts.size, "without_paths": int((counts == 0).sum()), **found}


def _layer_name(number: int, n_layers: int) -> str:
    return {0: "inputs", n_layers: "outputs"}.get(number, f"hidden {number}")


def _n_false(flags: Any) -> int:
    return int(flags.size - np.count_nonzero(flags))
