"""Neurons and connections on a path from an input to an output; the others are dead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hpc_sparse.analysis.topologies import Topologies, as_topologies
from hpc_sparse.dtypes import BoolArray, Int64Array
from hpc_sparse.kernels.analysis.reach import count_effective, reach_above, use_below
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.network import Network


@dataclass(frozen=True)
class Reach:
    """Parts of a network that can carry a signal; by default one entry per layer of neurons, inputs first.

    Attributes
    ----------
    has_incoming, has_outgoing : tuple of bool[width]
        Whether a neuron has a connection; True for the incoming of inputs and the outgoing of outputs.
    is_reached : tuple of bool[width]
        Whether a path leads from any input to the neuron. Others only ever put out a constant.
    is_used : tuple of bool[width]
        Whether a path leads from the neuron to any output.
    n_effective : int64[n_layers of connections]
        Connections on a path from an input to an output (Vysogorets, Kempe 2021, arXiv 2107.02306).
    """

    has_incoming: tuple[BoolArray, ...]
    has_outgoing: tuple[BoolArray, ...]
    is_reached: tuple[BoolArray, ...]
    is_used: tuple[BoolArray, ...]
    n_effective: Int64Array

    @property
    def is_dead(self) -> tuple[BoolArray, ...]:
        """Whether no path from an input to an output goes through a neuron."""
        return tuple(~(reached & used) for reached, used in zip(self.is_reached, self.is_used, strict=True))


def find_reach(network: Topologies) -> Reach:
    """Follow the connections from the inputs and back from the outputs; O(nnz) time.

    Raises
    ------
    InputError
        The network is none.
    """
    topologies = as_topologies(network)
    n_inputs, n_outputs = topologies[0].shape[1], topologies[-1].shape[0]
    has_incoming = (np.ones(n_inputs, np.bool_), *(topology.fan_in() > 0 for topology in topologies))
    has_outgoing = (*(topology.fan_out() > 0 for topology in topologies), np.ones(n_outputs, np.bool_))
    is_reached, is_used, n_effective = zip(*_from_above(topologies), strict=True)
    counts = np.array(n_effective[:0:-1], np.int64)
    return Reach(has_incoming, has_outgoing, is_reached[::-1], is_used[::-1], counts)


@dataclass(frozen=True)
class EffectiveSize:
    """What of a network lies on a path from an input to an output.

    Attributes
    ----------
    n_neurons : int
        Of all layers, with inputs and outputs.
    n_connections : int
    """

    n_neurons: int
    n_connections: int


def effective_size(network: Topologies) -> EffectiveSize:
    """The size of the part of a network that can carry a signal; O(nnz) time, a byte per neuron.

    Raises
    ------
    InputError
        The network is none.
    """
    n_neurons, n_connections = 0, 0
    for is_reached, is_used, n_effective in _from_above(as_topologies(network)):
        n_neurons += int(np.count_nonzero(is_reached & is_used))
        n_connections += n_effective
    return EffectiveSize(n_neurons, n_connections)


def effective_entries(network: Network) -> dict[str, int]:
    """The effective size of a network as ``summary.json`` tells it; empty for networks with states and of images."""
    if network.n_places > 1 or any(len(layer.connections()) != 1 for layer in network.layers):
        return {}
    size = effective_size(network)
    return {"n_effective_neurons": size.n_neurons, "n_effective_connections": size.n_connections}


def _from_above(topologies: Sequence[Topology]) -> Iterator[tuple[BoolArray, BoolArray, int]]:
    """For each layer of neurons, outputs first: which are reached, which used; effective connections up."""
    is_reached = [np.ones(topologies[0].shape[1], np.bool_)]
    for topology in topologies:
        is_reached.append(np.empty(topology.shape[0], np.bool_))
        reach_above(*topology.rows, is_reached[-2], is_reached[-1])
    is_used = np.ones(topologies[-1].shape[0], np.bool_)
    yield is_reached.pop(), is_used, 0
    for topology in reversed(topologies):
        reached, used_above = is_reached.pop(), is_used
        n_effective = int(count_effective(*topology.rows, reached, used_above))
        is_used = np.empty(topology.shape[1], np.bool_)
        use_below(*topology.rows, used_above, is_used)
        yield reached, is_used, n_effective
