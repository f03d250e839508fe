"""Paths from inputs to outputs: their number, and the pairs that they connect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_sparse.analysis.topologies import Topologies, as_topologies, sum_incoming, sum_outgoing
from hpc_sparse.dtypes import Float64Array, Int64Array
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.partition import chunk_ranges

BLOCK_BYTES = 64 * 1024 * 1024
"""Limit for the marks of a block of outputs in the widest layer."""


@dataclass(frozen=True)
class PathCounts:
    """Paths from the inputs to the outputs; a path takes one connection of each layer. Exact up to 2^53.

    Attributes
    ----------
    from_input : float64[n_inputs]
        Paths that begin at each input.
    to_output : float64[n_outputs]
        Paths that end at each output.
    n_outputs_reached : int64[n_inputs]
        Outputs that each input has a path to.
    expected_total : float
        Paths to expect if each layer's connections were drawn at random, as many as it has.
    """

    from_input: Float64Array
    to_output: Float64Array
    n_outputs_reached: Int64Array
    expected_total: float

    @property
    def total(self) -> float:
        """Paths in all."""
        return float(self.to_output.sum())

    @property
    def connectivity(self) -> float:
        """Share of the pairs of an input and an output that at least one path connects."""
        return float(self.n_outputs_reached.sum() / (self.from_input.size * self.to_output.size))


def count_paths(network: Topologies) -> PathCounts:
    """Count paths by sparse products; O(nnz) time for the counts and O(nnz n_outputs) for the connected pairs.

    Raises
    ------
    InputError
        The network is none.
    """
    topologies = as_topologies(network)
    to_output = np.ones(topologies[0].shape[1])
    for topology in topologies:
        to_output = sum_incoming(topology, to_output)
    from_input = np.ones(topologies[-1].shape[0])
    for topology in reversed(topologies):
        from_input = sum_outgoing(topology, from_input)
    return PathCounts(from_input, to_output, _outputs_reached(topologies), _expected_total(topologies))


def _outputs_reached(topologies: Sequence[Topology]) -> Int64Array:
    n_outputs, n_inputs = topologies[-1].shape[0], topologies[0].shape[1]
    widest = max(max(topology.shape) for topology in topologies)
    n_reached = np.zeros(n_inputs, np.int64)
    for start, stop in chunk_ranges(0, n_outputs, max(1, BLOCK_BYTES // (8 * widest))):
        marks = np.eye(n_outputs, stop - start, -start)
        for topology in reversed(topologies):
            marks = (sum_outgoing(topology, marks) > 0).astype(np.float64)
        n_reached += marks.sum(axis=1).astype(np.int64)
    return n_reached


def _expected_total(topologies: Sequence[Topology]) -> float:
    """Every neuron passes on its paths to as many neurons as the mean fan-out says."""
    fan_outs = [topology.n_connections / topology.shape[1] for topology in topologies]
    return topologies[0].shape[1] * math.prod(fan_outs)
