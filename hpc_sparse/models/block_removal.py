"""Removal of the weakest blocks of a network that is trained."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace

import numpy as np

from hpc_sparse.dtypes import OFFSET, BoolArray
from hpc_sparse.evolution.importance import important
from hpc_sparse.network.connections.protocol import Connections, ScoreRule
from hpc_sparse.network.network import Network, Place
from hpc_sparse.network.replica import Replica


def numbers_of_blocks(network: Network) -> list[int]:
    """Blocks of each map whose connections come in blocks of several weights; empty if there is none."""
    return [connections.topology.n_connections for _, connections in _in_blocks(network)]


def connections_left(network: Network, percentile: float, by: ScoreRule) -> int:
    """Connections of all layers when each map's blocks at or below a percentile of their scores are gone."""
    gone = sum(
        int((~kept).sum()) * connections.values_per_unit for _, connections, kept in _marked(network, percentile, by)
    )
    return network.n_connections - gone


def without_weakest_blocks(replica: Replica, percentile: float, by: ScoreRule) -> Replica:
    """A new replica without the blocks at or below a percentile of their map's scores; the given one if none goes.

    Neurons stay, and so does the strongest block of each map.
    """
    marked = [each for each in _marked(replica.network, percentile, by) if not each[2].all()]
    if not marked:
        return replica
    # Layers and states get new arrays and leave the old ones alone.
    network = replace(replica.network, layers=[copy(layer) for layer in replica.network.layers])
    pruned = Replica(network, [state.shared() for state in replica.states])
    for number in range(len(network.layers)):
        changes = {
            place.name: connections.topology.replaced(kept, np.empty(0, OFFSET))
            for place, connections, kept in marked
            if place.layer == number
        }
        if changes:
            pruned.follow(number, changes)
    return pruned


def _in_blocks(network: Network) -> Iterator[tuple[Place, Connections]]:
    return ((place, each) for place, each in network.connections() if each.unit != (1, 1))


def _marked(network: Network, percentile: float, by: ScoreRule) -> Iterator[tuple[Place, Connections, BoolArray]]:
    """Each map in blocks with the marks of those that stay."""
    for place, connections in _in_blocks(network):
        yield place, connections, important(connections.scores(by).astype(np.float64), percentile)
