"""Routes: which rows of activations or deltas travel between which ranks. Both ends know them from their own lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import INDEX, Int32Array, Int64Array
from hpc_sparse.network.partitioned.lists import Incoming, Pairs
from hpc_sparse.network.partitioned.ownership import LocalNumbers


@dataclass(frozen=True)
class Route:
    """Rows of one layer that travel in one direction.

    Attributes
    ----------
    sends : tuple of int32[n], one per part
        Own rows, counted from the first own one, that the part needs; increasing. None for this one.
    receives : int64[n_parts + 1]
        Local numbers of the rows that come from each part: where they begin. The own part's do not travel.
    part : int
        The one that this rank holds.
    """

    sends: tuple[Int32Array, ...]
    receives: Int64Array
    part: int

    @classmethod
    def of_activations(cls, incoming: Incoming, received: Sequence[Pairs]) -> Route:
        """Of the layer below, to where it has targets.

        Parameters
        ----------
        incoming : Incoming
            Of this rank: what it needs.
        received : sequence of Pairs
            From each part, the connections from own neurons below.
        """
        n_own = incoming.sources.owned.n_own
        return cls._of([_distinct(pairs.sources, n_own) for pairs in received], incoming.sources)

    @classmethod
    def of_deltas(cls, incoming: Incoming, targets: LocalNumbers) -> Route:
        """Of the layer, to where it has sources; ``targets`` are those that this rank's neurons below have."""
        n_own = incoming.targets.n_own
        return cls._of([_distinct(group.rows, n_own) for group in incoming.by_owner()], targets)

    @classmethod
    def of_all(cls, numbers: LocalNumbers) -> Route:
        """All rows, to all parts."""
        everything = np.arange(numbers.owned.n_own, dtype=INDEX)
        return cls._of([everything] * numbers.owned.n_parts, numbers)

    @classmethod
    def _of(cls, sends: Sequence[Int32Array], numbers: LocalNumbers) -> Route:
        part, none = numbers.owned.part, np.empty(0, INDEX)
        return cls(tuple(none if number == part else rows for number, rows in enumerate(sends)), numbers.ranges(), part)

    @property
    def n_sent(self) -> int:
        """Rows that go to other ranks."""
        return sum(rows.size for rows in self.sends)

    @property
    def n_received(self) -> int:
        """Rows that come from other ranks."""
        own = self.receives[self.part + 1] - self.receives[self.part]
        return int(self.receives[-1] - own)

    def n_received_from(self, part: int) -> int:
        """Rows that come from one of them; 0 from this one."""
        return 0 if part == self.part else int(self.receives[part + 1] - self.receives[part])


def _distinct(rows: Int32Array, n_rows: int) -> Int32Array:
    """The numbers among the rows, each once, increasing."""
    is_there = np.zeros(n_rows, np.bool_)
    is_there[rows] = True
    return np.flatnonzero(is_there).astype(INDEX)
