"""Importance pruning: unimportant neurons leave the network (Curci, Mocanu, Pechenizkiy 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hpc_sparse.dtypes import BoolArray, Float64Array
from hpc_sparse.network.connections.compaction import NetworkChange, cut_incoming, keep_connected, remove_neurons
from hpc_sparse.network.connections.protocol import Connections
from hpc_sparse.network.network import Network

PruningMode = Literal["compact", "released"]


@dataclass(frozen=True)
class ImportancePruner:
    """Finds the unimportant neurons of a network and the change that takes them out; O(nnz), no random numbers.

    Attributes
    ----------
    mode : "compact" or "released"
        Compact removes the neurons with incoming connections, outgoing connections and bias. Released takes
        their incoming connections only, as the authors' code does.
    percentile : float
        Percentile of each hidden layer's importances, in [0, 100). Neurons at or below it are removed, but never the
        strongest or its equals. 0 removes none.
    input_percentile : float
        Percentile for the inputs, by their outgoing connections. No effect in mode "released".
    """

    mode: PruningMode
    percentile: float
    input_percentile: float = 0.0

    def prune(self, network: Network) -> NetworkChange | None:
        """Change that removes the unimportant neurons; None if none goes. The network itself stays as it is.

        The outputs stay, and so does at least one connection of every layer: see
        :func:`hpc_sparse.network.connections.compaction.keep_connected`.
        """
        incoming = network.incoming()
        topologies = [connections.topology for connections in incoming]
        masks = self._important_neurons(incoming)
        if self.mode == "released":
            change = cut_incoming(topologies, masks)
            return change if change.n_connections < network.n_connections else None
        masks = keep_connected(topologies, [connections.weight for connections in incoming], masks)
        return None if all(mask.all() for mask in masks) else remove_neurons(topologies, masks)

    def _important_neurons(self, incoming: Sequence[Connections]) -> list[BoolArray]:
        """bool[width] for each layer of neurons, inputs first."""
        return [
            important(incoming[0].outgoing_strength(), self.input_percentile),
            *(important(connections.incoming_strength(), self.percentile) for connections in incoming[:-1]),
            np.ones(incoming[-1].shape[0], np.bool_),
        ]


def important(importance: Float64Array, percentile: float) -> BoolArray:
    """Mark the neurons that stay: those above the percentile (linear interpolation), and the strongest."""
    if percentile == 0:
        return np.ones(importance.size, np.bool_)
    limit, strongest = np.percentile(importance, percentile), importance.max()
    return np.asarray((importance > limit) | (importance == strongest))


def distinct_percentiles(widths: Sequence[int]) -> Float64Array:
    """Percentiles that take different numbers of neurons from layers of these widths, every combination once.

    Returns
    -------
    float64[at most 1 + the sum of the widths], increasing
        The first, 0, takes none; the last leaves only the strongest neurons of each layer. The values lie between the
        limits at which one more neuron goes, safe from rounding.
    """
    limits = np.unique(np.concatenate([[100.0], *(np.linspace(0, 100, width)[:-1] for width in widths)]))
    return np.concatenate([[0.0], (limits[:-1] + limits[1:]) / 2])
