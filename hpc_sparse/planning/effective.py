"""How much of a new network will lie on a path from an input to an output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpc_sparse.planning.network_size import LayerSize, NetworkSize

CHAINED = {"sparse", "tanh"}
"""Kinds of layers that are one map from the neurons below."""

CERTAIN = {"erdos_renyi": (0, 0), "constant_fan_in": (math.inf, 0), "covering": (2, 1)}
"""By initial topology: inputs that each neuron has for certain, and neurons that each input leads to, if there are so
many in the mean. Neighbours in others are not independent, or their numbers too different."""


@dataclass(frozen=True)
class ExpectedEffective:
    """Expected size of the part that carries a signal, of all neurons with inputs and outputs, and of all connections.

    Attributes
    ----------
    neurons, connections : int
    share_of_neurons, share_of_connections : float
    """

    neurons: int
    connections: int
    share_of_neurons: float
    share_of_connections: float


def expected_effective(size: NetworkSize, pattern: str) -> ExpectedEffective | None:
    """What is expected of random first connections.

    None if they are not as in CERTAIN, or a layer is more than one map of single connections. A neuron is reached
    unless none of its inputs is, and used unless it leads to none that is; in a random topology the two are
    independent of each other, and so are different neurons of a layer.
    """
    if pattern not in CERTAIN:
        return None
    if not all(layer.kind in CHAINED and layer.unit == (1, 1) and layer.places == 1 for layer in size.layers):
        return None
    certain_in, certain_out = CERTAIN[pattern]
    reached = [1.0]
    for layer in size.layers:
        own = layer.n_connections / layer.n_out
        reached.append(1 - _none_of(own, _certain(certain_in, own, layer), reached[-1], layer.n_in))
    used = [1.0]
    for layer in reversed(size.layers):
        own = layer.n_connections / layer.n_in
        used.append(1 - _none_of(own, _certain(certain_out, own, layer), used[-1], layer.n_out))
    used.reverse()
    widths = size.widths
    n_neurons = sum(width * up * down for width, up, down in zip(widths, reached, used, strict=True))
    n_connections = _connections(size.layers, reached, used)
    return ExpectedEffective(
        round(n_neurons), round(n_connections), n_neurons / sum(widths), n_connections / max(1, size.n_connections)
    )


def _certain(n: float, mean: float, layer: LayerSize) -> float:
    return mean if layer.is_dense else min(n, mean)


def _none_of(mean: float, certain: float, share: float, n_others: int) -> float:
    """Probability that of a neuron's partners, ``mean`` in the mean of which some are certain, none is of a share.

    Where ``certain`` is no whole number, some neurons have one more than the others.
    """
    n_least, more = int(certain), certain - int(certain)
    of_certain = (1 - share) ** n_least * (1 - more * share)
    chance = min(1.0, (mean - certain) / n_others)
    return float(of_certain * (1 - chance * share) ** n_others)


def _connections(layers: Sequence[LayerSize], reached: Sequence[float], used: Sequence[float]) -> float:
    return sum(
        layer.n_connections * below * above for layer, below, above in zip(layers, reached, used[1:], strict=False)
    )
