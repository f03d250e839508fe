"""Degrees: connections per neuron, beside their distribution in random topologies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import Float64Array, Int64Array
from hpc_sparse.network.connections.topology import Topology


@dataclass(frozen=True)
class DegreeDistribution:
    """Incoming or outgoing connections of the neurons of one layer.

    The random expectation is that of an Erdos-Renyi topology of the same density, whose degrees are binomial
    (Mocanu et al. 2018).

    Attributes
    ----------
    counts : int64[largest degree + 1]
        Number of neurons with 0, 1, 2 and so on connections.
    n_possible : int
        Connections that a neuron could have.
    """

    counts: Int64Array
    n_possible: int

    @property
    def n_neurons(self) -> int:
        """Neurons of the layer."""
        return int(self.counts.sum())

    @property
    def smallest(self) -> int:
        """The smallest degree."""
        return int(np.flatnonzero(self.counts)[0])

    @property
    def largest(self) -> int:
        """The largest degree."""
        return self.counts.size - 1

    @property
    def mean(self) -> float:
        """Mean degree; the expected one is the same."""
        return float(np.arange(self.counts.size) @ self.counts) / self.n_neurons

    @property
    def deviation(self) -> float:
        """Standard deviation of the degrees."""
        distance = np.arange(self.counts.size) - self.mean
        return float(np.sqrt(distance**2 @ self.counts / self.n_neurons))

    @property
    def expected_deviation(self) -> float:
        """The standard deviation that chance would give."""
        return float(np.sqrt(self.mean * max(0.0, 1 - self.mean / self.n_possible)))

    def expected_counts(self, largest: int) -> Float64Array:
        """float64[largest + 1]: neurons that chance would give 0, 1, 2 and so on connections."""
        from scipy.stats import binom  # noqa: PLC0415 - it takes half a second, and runs import this package

        degrees = np.arange(largest + 1)
        expected: Float64Array = self.n_neurons * binom.pmf(degrees, self.n_possible, self.mean / self.n_possible)
        return expected

    @property
    def difference(self) -> float:
        """Total variation distance to the expectation: the share of neurons whose degree would have to change."""
        expected = self.expected_counts(self.largest) / self.n_neurons
        beyond = max(0.0, 1.0 - float(expected.sum()))
        return (float(np.abs(self.counts / self.n_neurons - expected).sum()) + beyond) / 2


def fan_in_distribution(topology: Topology) -> DegreeDistribution:
    """Incoming connections of a layer's output neurons."""
    return DegreeDistribution(np.bincount(topology.fan_in()), topology.shape[1])


def fan_out_distribution(topology: Topology) -> DegreeDistribution:
    """Outgoing connections of a layer's input neurons."""
    return DegreeDistribution(np.bincount(topology.fan_out()), topology.shape[0])
