"""Rows of a layer that this rank knows: the own ones and, around them, those that others send."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from hpc_sparse.dtypes import AnyArray, Int32Array
from hpc_sparse.kernels.partitioned.rows import pack_rows
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.ownership import LocalNumbers
from hpc_sparse.network.partitioned.routes import Route
from hpc_sparse.network.tiles import Tiles


@dataclass
class Room:
    """Memory for tiles, as much as was ever asked for at once."""

    _buffers: dict[str, AnyArray] = field(default_factory=dict)

    def tiles(self, n_neurons: int, like: Tiles) -> Tiles:
        """Tiles of so many neurons for the batch of others; their numbers are whatever is there."""
        size, dtype = n_neurons * like.n_columns, like.values.dtype
        found = self._buffers.get(dtype.str)
        if found is None or found.size < size:
            found = self._buffers[dtype.str] = aligned_empty(size, dtype.type)
        return Tiles(found[:size], n_neurons, like.n_columns, like.width, like.n_places)

    @property
    def n_bytes(self) -> int:
        """Bytes of the memory."""
        return sum(buffer.nbytes for buffer in self._buffers.values())


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
        Where the rows are put together.
    """

    numbers: LocalNumbers
    route: Route
    exchange: Exchange
    room: Room

    def known(self, own: Tiles) -> Tiles:
        """The rows of all neurons that are known here, in the order of the layer (collective).

        They stay as they are until the room is used again.
        """
        if self.exchange.n_parts == 1 or self.numbers.owned.n_parts == 1:
            return own
        found = self.room.tiles(self.numbers.n_local, own)
        self.fill(own, found)
        return found

    def fill(self, own: Tiles, out: Tiles) -> None:
        """Overwrite ``out`` by the rows of all neurons that are known here (collective)."""
        ranges = self.numbers.ranges().tolist()
        for (_, tile), (_, known) in zip(own, out, strict=True):
            known[self.numbers.own] = tile
            sends = [_packed(tile, rows) for rows in self.route.sends]
            receives = [known[start:stop].reshape(-1) for start, stop in pairwise(ranges)]
            self.exchange.swap(sends, receives)


def _packed(tile: AnyArray, rows: Int32Array) -> AnyArray:
    """Some rows of a tile, one after the other."""
    width = tile.shape[1]
    packed = np.empty(rows.size * width, tile.dtype)
    pack_rows(tile.reshape(-1), rows, width, packed)
    return packed
