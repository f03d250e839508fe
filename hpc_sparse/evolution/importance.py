"""Importance pruning: unimportant neurons leave the network (Curci, Mocanu, Pechenizkiy 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hpc_sparse.dtypes import VALUE, BoolArray, Float64Array
from hpc_sparse.evolution.gradient_tiles import samples_of
from hpc_sparse.network.connections.compaction import NetworkChange, cut_incoming, keep_connected, remove_neurons
from hpc_sparse.network.connections.protocol import INPUT, Connections
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.network import Network, Place
from hpc_sparse.network.partitioned.layer_share import LayerShare

PruningMode = Literal["compact", "released"]
Importance = Literal["incoming", "two_sided", "taylor"]

LayerSignals = Sequence[Mapping[str, Signals]]
"""Signals of all layers' connections by their names."""


@dataclass(frozen=True)
class ImportancePruner:
    """Finds the unimportant neurons of a network and the change that takes them out; no random numbers.

    Work O(nnz); with ``importance = "taylor"`` O(B nnz) for B samples.

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
    importance : "incoming", "two_sided" or "taylor"
        Importance of a neuron: the sum of its incoming |weights|; the product of it and the sum of its outgoing
        |weights|; or the mean |activation x derivative of the loss by it| over some samples, which is about what the
        loss changes by without it (Molchanov et al. 2017, arXiv 1611.06440). Of an input: the sum of its outgoing
        |weights|, or the last.
    """

    mode: PruningMode
    percentile: float
    input_percentile: float = 0.0
    importance: Importance = "incoming"

    def prune(self, network: Network, signals: LayerSignals | None = None) -> NetworkChange | None:
        """Change that removes the unimportant neurons; None if none goes. The network itself stays as it is.

        The outputs stay, and so does at least one connection of every layer: see
        :func:`hpc_sparse.network.connections.compaction.keep_connected`. Taylor's importance needs the signals of some
        samples.
        """
        incoming, places = network.incoming(), [Place(number, INPUT) for number in range(len(network.layers))]
        topologies, shares = map(network.rows, places), [network.share(place) for place in places]
        rows, exchange = list(topologies), shares[0].exchange
        masks = self._important_neurons(incoming, shares, signals)
        if self.mode == "released":
            change = cut_incoming(rows, masks, shares)
            return change if exchange.total(change.n_connections) < network.n_connections else None
        masks = keep_connected(rows, [connections.scores() for connections in incoming], masks, shares)
        return None if all(mask.all() for mask in masks) else remove_neurons(rows, masks, shares)

    def _important_neurons(
        self, incoming: Sequence[Connections], shares: Sequence[LayerShare], signals: LayerSignals | None
    ) -> list[BoolArray]:
        """bool[width] for each layer of neurons, inputs first."""
        importances = self._importances(incoming, signals)
        inputs, *hidden = (share.together_below(own) for share, own in zip(shares, importances, strict=True))
        return [
            important(inputs, self.input_percentile),
            *(important(each, self.percentile) for each in hidden),
            np.ones(shares[-1].targets.n_neurons, np.bool_),
        ]

    def _importances(self, incoming: Sequence[Connections], signals: LayerSignals | None) -> list[Float64Array]:
        """For each layer of neurons but the outputs, inputs first: float64[n] of those that are here."""
        if self.importance == "taylor":
            assert signals is not None
            return [_taylor(above, own[INPUT]) for above, own in zip(incoming, signals, strict=True)]
        hidden = [connections.incoming_strength() for connections in incoming[:-1]]
        if self.importance == "two_sided":
            hidden = [each * above.outgoing_strength() for each, above in zip(hidden, incoming[1:], strict=True)]
        return [incoming[0].outgoing_strength(), *hidden]


def fold_means(network: Network, change: NetworkChange, signals: LayerSignals) -> None:
    """Add what the neurons that are to go contribute on average to the biases of the neurons above, in place.

    Parameters
    ----------
    network : Network
        Before the change.
    change : NetworkChange
        Which neurons stay.
    signals : sequence of dict of str to Signals
        Of the connections of the network, for some samples.
    """
    for number, (layer, kept, own) in enumerate(zip(network.layers, change.kept_neurons[:-1], signals, strict=True)):
        if kept is None:
            continue
        source, share = own[INPUT], network.share(Place(number, INPUT))
        means = samples_of(source.source, source.n_samples).mean(axis=1, dtype=np.float64)
        means = share.together_below(means)
        means[kept] = 0
        acting = layer.connections()[INPUT].acting()
        layer.parameters()["bias"].values[:] += (acting.matrix(acting.weight) @ means).astype(VALUE)


def _taylor(above: Connections, signals: Signals) -> Float64Array:
    """Mean |activation x derivative of a sample's loss by it| of the neurons below, float64[n_in]."""
    source, delta = (samples_of(each, signals.n_samples) for each in (signals.source, signals.delta))
    acting = above.acting()
    products = np.abs(acting.matrix(acting.weight).T @ delta * source)
    return np.asarray(products.sum(axis=1, dtype=np.float64))


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
