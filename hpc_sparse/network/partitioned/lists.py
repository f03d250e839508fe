"""Connections of a layer on one rank: incoming lists of its neurons, outgoing lists of its neurons below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, BoolArray, Int32Array, Int64Array, PointerArray, pointer_dtype
from hpc_sparse.kernels.partitioned.rows import count_by_owner, group_by_owner
from hpc_sparse.network.connections.topology import BLOCKS, Topology, TransposedIndex
from hpc_sparse.network.partitioned.ownership import LocalNumbers, Ownership
from hpc_sparse.partition import balanced_bounds


class Pairs(NamedTuple):
    """Connections between the neurons of two parts, in the order of their keys: by target, then by source.

    Attributes
    ----------
    sources : int32[n]
        Numbers among the neurons of the part that owns them.
    targets : int32[n]
        Numbers in the layer.
    """

    sources: Int32Array
    targets: Int32Array


class OfOwner(NamedTuple):
    """Connections from the neurons of one part of the layer below, in key order.

    Attributes
    ----------
    part : int
    positions : int64[n]
        Among all connections to own neurons, increasing.
    rows : int32[n]
        Their targets, counted from the first own one.
    """

    part: int
    positions: Int64Array
    rows: Int32Array

    def select(self, is_chosen: BoolArray) -> OfOwner:
        """Those of them that are marked, bool[n]."""
        return OfOwner(self.part, self.positions[is_chosen], self.rows[is_chosen])


@dataclass(frozen=True)
class Incoming:
    """Connections to the own neurons of a layer, in rows; the weights of all are here.

    Attributes
    ----------
    topology : Topology
        One row per own neuron; its columns are local numbers of sources.
    targets : Ownership
        Of the layer.
    sources : LocalNumbers
        Of the layer below.
    """

    topology: Topology
    targets: Ownership
    sources: LocalNumbers

    @classmethod
    def of(cls, rows: Topology, targets: Ownership, below: Ownership, *, knows_all: bool = False) -> Incoming:
        """The lists of rows of shape (n_own, n_in), whose columns are numbers in the layer below.

        Parameters
        ----------
        rows : Topology
        targets : Ownership
            Of the layer.
        below : Ownership
            Of the layer below.
        knows_all : bool
            Whether all neurons of the layer below are known here, connected or not.
        """
        assert rows.shape == (targets.n_own, below.n_neurons), (rows.shape, targets, below)
        sources = LocalNumbers.of_all(below) if knows_all else LocalNumbers.of(below, rows.indices)
        topology = Topology((targets.n_own, sources.n_local), rows.indptr, sources.local(rows.indices))
        return cls(topology, targets, sources)

    @property
    def n_connections(self) -> int:
        """Connections to own neurons."""
        return self.topology.n_connections

    @cached_property
    def is_own(self) -> BoolArray:
        """bool[nnz]: whether a connection's source is owned here."""
        own, indices = self.sources.own, self.topology.indices
        found: BoolArray = (indices >= own.start) & (indices < own.stop)
        return found

    @cached_property
    def remote_starts(self) -> tuple[Int64Array, Int64Array]:
        """Where the connections from each part are, if those from other parts' neurons lie part after part.

        int64[n_parts, n_blocks] for each block of rows, and int64[n_parts + 1]; in key order within a part, and none
        from own neurons.
        """
        t, part = self.topology, self.sources.owned.part
        counts = np.empty((self.sources.owned.n_parts, t.bounds.size - 1), OFFSET)
        count_by_owner(t.indptr, t.indices, self.sources.ranges(), t.bounds, counts)
        counts[part] = 0
        ends = np.cumsum(counts).reshape(counts.shape)
        return ends - counts, np.concatenate([np.zeros(1, OFFSET), ends[:, -1]])

    def rows(self) -> Topology:
        """The connections with the sources' numbers in the layer below, (n_own, n_in)."""
        numbers = self.sources.numbers().astype(INDEX)
        shape = (self.targets.n_own, self.sources.owned.n_neurons)
        return Topology(shape, self.topology.indptr, numbers[self.topology.indices])

    def by_owner(self) -> list[OfOwner]:
        """For each part of the layer below, the connections from its neurons."""
        t, ranges, n = self.topology, self.sources.ranges(), self.n_connections
        starts, positions, rows = np.empty_like(ranges), np.empty(n, OFFSET), np.empty(n, INDEX)
        group_by_owner(t.indptr, t.indices, ranges, starts, positions, rows)
        bounds = starts[1:-1]
        return [
            OfOwner(part, *each)
            for part, each in enumerate(zip(np.split(positions, bounds), np.split(rows, bounds), strict=True))
        ]

    def pairs(self, group: OfOwner) -> Pairs:
        """Both ends of connections from the neurons of one part."""
        first = self.sources.owned.starts[group.part]
        sources = self.sources.numbers()[self.topology.indices[group.positions]] - first
        return Pairs(sources.astype(INDEX), group.rows + INDEX(self.targets.first))


@dataclass(frozen=True)
class Outgoing:
    """Connections from the own neurons below, by source; the weights of those to other ranks are mirrored here.

    Attributes
    ----------
    index : TransposedIndex
        Targets are local numbers, increasing for each source. A position beyond the incoming connections is that of a
        mirror.
    targets : LocalNumbers
        Of the layer.
    mirrors : int64[n_parts + 1]
        Mirrors of the connections to the neurons of each part, in key order: where they begin.
    """

    index: TransposedIndex
    targets: LocalNumbers
    mirrors: Int64Array

    @classmethod
    def of(cls, incoming: Incoming, received: Sequence[Pairs], *, knows_all: bool = False) -> Outgoing:
        """The lists.

        Parameters
        ----------
        incoming : Incoming
            Of this rank, of the same connections as its own entry in ``received``.
        received : sequence of Pairs
            From each part of the layer, the connections from own neurons below.
        knows_all : bool
            Whether all neurons of the layer are known here, connected or not.
        """
        owned, part = incoming.targets, incoming.targets.part
        sources, globally = (np.concatenate(each) for each in zip(*received, strict=True))
        targets = LocalNumbers.of_all(owned) if knows_all else LocalNumbers.of(owned, globally)
        counts = np.array([pairs.sources.size for pairs in received], OFFSET)
        counts[part] = 0
        mirrors = np.concatenate([np.zeros(1, OFFSET), np.cumsum(counts)])
        pointer = pointer_dtype(incoming.n_connections + int(mirrors[-1]))
        position: PointerArray = np.arange(globally.size).astype(pointer, copy=False)
        start = int(mirrors[part])
        n_own = received[part].sources.size
        position[start + n_own :] += incoming.n_connections - n_own
        position[:start] += incoming.n_connections
        position[start : start + n_own] = np.flatnonzero(incoming.is_own)
        grouped = _by_target(targets, globally, sources, incoming.sources.owned.n_own).transposed
        place: PointerArray = position[grouped.position]
        bounds = balanced_bounds(grouped.indptr, BLOCKS)
        return cls(TransposedIndex(grouped.indptr, grouped.outs, place, bounds), targets, mirrors)

    @property
    def n_mirrors(self) -> int:
        """Connections to the neurons of other parts."""
        return int(self.mirrors[-1])

    def mirrored_pairs(self, n_primary: int) -> list[Pairs]:
        """For each part of the layer, the connections from own neurons below that are mirrored here.

        ``n_primary`` is the number of connections to own neurons.
        """
        is_mirror = self.index.position >= n_primary
        number = self.index.position[is_mirror] - n_primary
        of_neurons = np.repeat(np.arange(self.index.indptr.size - 1, dtype=INDEX), np.diff(self.index.indptr))
        sources, targets = np.empty(number.size, INDEX), np.empty(number.size, INDEX)
        sources[number] = of_neurons[is_mirror]
        targets[number] = self.targets.numbers()[self.index.outs[is_mirror]]
        bounds = self.mirrors[1:-1]
        return [Pairs(*each) for each in zip(np.split(sources, bounds), np.split(targets, bounds), strict=True)]


def _by_target(targets: LocalNumbers, globally: Int32Array, sources: Int32Array, n_sources: int) -> Topology:
    """Connections in key order as rows of local targets."""
    counts = np.bincount(targets.local(globally), minlength=targets.n_local)
    indptr = np.concatenate([np.zeros(1, OFFSET), np.cumsum(counts)])
    return Topology((targets.n_local, n_sources), indptr, sources.astype(INDEX, copy=False))
