"""Connections that networks of the same widths share, and connections tried over time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hpc_sparse.analysis.topologies import Topologies, as_topologies, check_same_widths
from hpc_sparse.dtypes import INDEX, Int64Array
from hpc_sparse.kernels.analysis import comparison
from hpc_sparse.kernels.threads import at_most_threads
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.distinct_numbers import sorted_distinct


@dataclass(frozen=True)
class SharedConnections:
    """Numbers of connections by layer, of one network and a reference.

    Attributes
    ----------
    n_common, n_own, n_reference : int64[n_layers]
        Connections of both, of the network, of the reference.
    n_possible : int64[n_layers]
        Connections of a dense layer of these widths.
    """

    n_common: Int64Array
    n_own: Int64Array
    n_reference: Int64Array
    n_possible: Int64Array

    @property
    def overlap(self) -> float:
        """Share of the reference's connections that the network has too; 0 if it has none."""
        return _ratio(self.n_common.sum(), self.n_reference.sum())

    @property
    def intersection_over_union(self) -> float:
        """Connections of both as a share of those of either; 0 if there are none."""
        common = self.n_common.sum()
        return _ratio(common, self.n_own.sum() + self.n_reference.sum() - common)

    @property
    def chance_overlap(self) -> float:
        """The overlap to expect if the network's connections were drawn at random, as many per layer."""
        expected = (self.n_own / self.n_possible * self.n_reference).sum()
        return _ratio(expected, self.n_reference.sum())

    def layer(self, number: int) -> SharedConnections:
        """The same of one layer."""
        part = slice(number, number + 1)
        return SharedConnections(self.n_common[part], self.n_own[part], self.n_reference[part], self.n_possible[part])


def shared_connections(network: Topologies, reference: Topologies) -> SharedConnections:
    """Count the connections two networks share, neuron by neuron in their own order; O(nnz) time.

    Raises
    ------
    InputError
        The networks differ in widths, or are none.
    """
    own, other = as_topologies(network), as_topologies(reference)
    check_same_widths(own, other)
    with at_most_threads(None):
        counts = [
            (_count_common(a, b), a.n_connections, b.n_connections, a.shape[0] * a.shape[1])
            for a, b in zip(own, other, strict=True)
        ]
    return SharedConnections(*np.array(counts, np.int64).T)


def explored_connections(history: Iterable[Topologies]) -> list[Int64Array]:
    """Number of distinct connections per layer up to each network of a history.

    Their share of all possible ones is the in-time over-parameterisation rate R_s (Liu et al. 2021, arXiv 2102.02887).
    Needs 8 bytes for each connection that has ever existed.

    Parameters
    ----------
    history : iterable of networks
        Networks of the same widths, in the order of time.

    Returns
    -------
    list of int64[n_layers]

    Raises
    ------
    InputError
        The networks differ in widths, or are none.
    """
    counts = []
    first: list[Topology] = []
    seen: list[Int64Array] = []
    for network in history:
        topologies = as_topologies(network)
        if first:
            check_same_widths(first, topologies)
        else:
            first, seen = topologies, [np.empty(0, np.int64)] * len(topologies)
        seen = [
            sorted_distinct(np.concatenate([keys, topology.keys()]))
            for keys, topology in zip(seen, topologies, strict=True)
        ]
        counts.append(np.array([keys.size for keys in seen], np.int64))
    return counts


def _count_common(own: Topology, other: Topology) -> int:
    n_common = np.empty(own.shape[0], np.int64)
    same_row = np.arange(own.shape[0], dtype=INDEX)
    comparison.count_common(*own.rows, *other.rows, same_row, n_common)
    return int(n_common.sum())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
