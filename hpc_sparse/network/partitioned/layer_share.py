"""The share of a layer's connections that is here: what a decision about the whole layer needs to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.partitioned.exchange import ALONE, Exchange
from hpc_sparse.network.partitioned.halo import Halo, Room
from hpc_sparse.network.partitioned.ownership import LocalNumbers, Ownership
from hpc_sparse.network.partitioned.routes import Route
from hpc_sparse.network.tiles import Tiles


@dataclass(frozen=True)
class LayerShare:
    """Own rows of a layer's connections, among those of all parts.

    Attributes
    ----------
    exchange : Exchange
    targets : Ownership
        Of the layer.
    below : Ownership
        Of the layer below.
    n_connections : int
        Of the layer.
    """

    exchange: Exchange
    targets: Ownership
    below: Ownership
    n_connections: int

    @classmethod
    def whole(cls, topology: Topology) -> LayerShare:
        """All rows of a layer of these connections."""
        n_out, n_in = topology.shape
        return cls(ALONE, Ownership.whole(n_out), Ownership.whole(n_in), topology.n_connections)

    @property
    def is_whole(self) -> bool:
        """Whether all rows are here."""
        return self.exchange.n_parts == 1

    def together_below(self, own: AnyArray) -> AnyArray:
        """Values of all neurons of the layer below, of those of its own ones [n_own] (collective)."""
        return own if self._has_all_below else self.exchange.together(own)

    def rows_below(self, own: Tiles, neurons: AnyArray) -> tuple[LocalNumbers, Tiles]:
        """The rows of some neurons of the layer below, any number of times, with the own ones (collective).

        Parameters
        ----------
        own : Tiles
            Rows of the own neurons of the layer below.
        neurons : integer[n]
            Numbers in the layer below.

        Returns
        -------
        LocalNumbers
            Of the neurons whose rows there are.
        Tiles
        """
        if self._has_all_below:
            return LocalNumbers.of_all(self.below), own
        numbers = LocalNumbers.of(self.below, neurons)
        first = self.below.first
        ghosts = np.split(numbers.ghosts, np.searchsorted(numbers.ghosts, self.below.starts[1:-1]))
        wanted = self.exchange.trade(ghosts)
        none = numbers.ghosts[:0]
        sends = tuple(none if part == self.below.part else each - first for part, each in enumerate(wanted))
        halo = Halo(numbers, Route(sends, numbers.ranges(), self.below.part), self.exchange, Room())
        rows = own.like(numbers.n_local)
        halo.fill(own, rows)
        return numbers, rows

    def blocks_below(self, own: Tiles) -> Iterator[tuple[int, Tiles]]:
        """The rows of the layer below, those of one part after the other, each with its first neuron (collective).

        The own ones come first. Of others, those of one part at a time are here.
        """
        yield self.below.first, own
        if self._has_all_below:
            return
        n_parts, part = self.exchange.n_parts, self.exchange.part
        nothing = own.values[:0]
        for distance in range(1, n_parts):
            to, source = (part + distance) % n_parts, (part - distance) % n_parts
            start, stop = self.below.starts[source : source + 2].tolist()
            rows = own.like(stop - start)
            sends, receives = [nothing] * n_parts, [nothing.copy() for _ in range(n_parts)]
            sends[to], receives[source] = own.values, rows.values
            self.exchange.swap(sends, receives)
            yield start, rows

    @property
    def _has_all_below(self) -> bool:
        return self.below.n_parts == 1
