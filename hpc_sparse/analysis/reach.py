"""Neurons and connections on a path from an input to an output; the others are dead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_sparse.analysis.topologies import Topologies, as_topologies, sum_incoming, sum_outgoing
from hpc_sparse.dtypes import BoolArray, Int64Array
from hpc_sparse.network.connections.topology import Topology


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
    has_outgoing = (*(_has_outgoing(topology) for topology in topologies), np.ones(n_outputs, np.bool_))
    is_reached, is_used = [has_incoming[0]], [has_outgoing[-1]]
    n_live_inputs = []
    for topology in topologies:
        n_live_inputs.append(sum_incoming(topology, is_reached[-1].astype(np.float64)))
        is_reached.append(n_live_inputs[-1] > 0)
    for topology in reversed(topologies):
        is_used.append(sum_outgoing(topology, is_used[-1].astype(np.float64)) > 0)
    is_used.reverse()
    n_effective = [int(n_live[used].sum()) for n_live, used in zip(n_live_inputs, is_used[1:], strict=True)]
    return Reach(has_incoming, has_outgoing, tuple(is_reached), tuple(is_used), np.array(n_effective, np.int64))


def _has_outgoing(topology: Topology) -> BoolArray:
    return topology.fan_out() > 0
