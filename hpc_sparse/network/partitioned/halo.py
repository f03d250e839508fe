"""Rows of a layer that this rank knows: the own ones, and those that others send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.kernels.partitioned.rows import pack_rows
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.kernels.simd.row_ranges import RowRanges, row_ranges
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.ownership import LocalNumbers
from hpc_sparse.network.partitioned.routes import Route
from hpc_sparse.network.tiles import SourceRows, Tiles, gradient_parts


@dataclass
class Room:
    """Memory for what travels in one pass of one layer, as much as was ever asked for at once: all layers share it."""

    _buffers: dict[tuple[str, str], AnyArray] = field(default_factory=dict)

    def values(self, use: str, size: int, dtype: np.dtype[np.generic]) -> AnyArray:
        """One-dimensional array; its numbers are whatever is there. Each use of a pass has memory of its own."""
        found = self._buffers.get((use, dtype.str))
        if found is None or found.size < size:
            found = self._buffers[use, dtype.str] = aligned_empty(size, dtype.type)
        return found[:size]


@dataclass(frozen=True)
class KnownRows:
    """The rows of all neurons of a layer that are known here, as kernels read them.

    Attributes
    ----------
    own : Tiles
        Those of the own neurons.
    values : RowRanges
        All.
    n_neurons : int
    """

    own: Tiles
    values: RowRanges
    n_neurons: int

    @property
    def layout(self) -> int:
        """How columns are divided into tiles."""
        return self.own.layout

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return self.own.n_tiles

    @property
    def gradient_parts(self) -> int:
        """Parts in which a step computes the gradients of connections that read these rows at random."""
        own = self.own
        return gradient_parts(self.n_neurons, own.n_columns, own.layout, own.values.itemsize)

    @property
    def is_single(self) -> bool:
        """Whether there is one tile only."""
        return self.own.is_single


@dataclass
class Halo:
    """Rows of a layer around the own ones, and what has to travel for them.

    Attributes
    ----------
    numbers : LocalNumbers
        Of the neurons that are known here.
    route : Route
    exchange : Exchange
    room : Room
        For the rows of ghosts.
    """

    numbers: LocalNumbers
    route: Route
    exchange: Exchange
    room: Room

    def known(self, own: Tiles) -> SourceRows:
        """The rows of all neurons that are known here, by their local numbers (collective).

        They stay as they are until the room is used again, or until their owners write others, which they do after this
        has been called for another layer.
        """
        if self.exchange.n_parts == 1 or self.numbers.owned.n_parts == 1:
            return own
        shared = self.exchange.shared.get(own.values.ctypes.data)
        return self._received(own) if shared is None else self._read_in_place(own, shared)

    def _read_in_place(self, own: Tiles, shared: Sequence[AnyArray]) -> KnownRows:
        """The rows where their owners have written them, now that all have."""
        self.exchange.wait()
        starts, part = self.numbers.owned.starts.tolist(), self.exchange.part
        sizes = [(stop - start) * own.n_columns for start, stop in pairwise(starts)]
        others = [array[:size] for array, size in zip(shared, sizes, strict=True)]
        arrays = (*others[:part], own.values, *others[part + 1 :])
        return KnownRows(own, row_ranges(arrays, starts[:-1], starts[:-1], starts[-1]), starts[-1])

    def _received(self, own: Tiles) -> KnownRows:
        """The own rows with those of ghosts, which their owners send."""
        numbers = self.numbers
        n_ghosts, n_below, n_own = numbers.ghosts.size, numbers.n_below, numbers.owned.n_own
        values = self.room.values("ghosts", n_ghosts * own.n_columns, own.values.dtype)
        ghosts = Tiles(values, n_ghosts, own.n_columns, own.width, own.n_places)
        ranges = numbers.ghost_ranges.tolist()
        for (_, tile), (_, rows) in zip(own, ghosts, strict=True):
            self._swap(tile, rows, ranges)
        arrays, firsts = (values, own.values, values), (0, n_below, n_below + n_own)
        return KnownRows(own, row_ranges(arrays, firsts, (0, n_below, n_own), numbers.n_local), numbers.n_local)

    def fill(self, own: Tiles, out: Tiles) -> None:
        """Overwrite ``out`` by the rows of all neurons that are known here, in the order of the layer (collective).

        When it is over, all parts have begun with it.
        """
        ranges = self.numbers.ranges().tolist()
        self.exchange.wait()
        for (_, tile), (_, rows) in zip(own, out, strict=True):
            rows[self.numbers.own] = tile
            self._swap(tile, rows, ranges)

    def _swap(self, tile: AnyArray, rows: AnyArray, ranges: Sequence[int]) -> None:
        """Overwrite the rows of other parts, which begin at ``ranges``, by what they send."""
        receives = [rows[start:stop].reshape(-1) for start, stop in pairwise(ranges)]
        self.exchange.swap(self._packed(tile), receives)

    def _packed(self, tile: AnyArray) -> list[AnyArray]:
        """For each part, the own rows that it needs, one after the other."""
        n_own, width = tile.shape
        values, sends = tile.reshape(-1), list[AnyArray]()
        sizes = [0 if rows.size == n_own else rows.size * width for rows in self.route.sends]
        packed = np.split(self.room.values("packed", sum(sizes), tile.dtype), np.cumsum(sizes)[:-1])
        for rows, part in zip(self.route.sends, packed, strict=True):
            if rows.size == n_own:
                sends.append(values)
            else:
                pack_rows(values, rows, width, part)
                sends.append(part)
        return sends
