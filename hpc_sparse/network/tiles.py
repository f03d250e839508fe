"""Activations of a layer: tiles of columns, neuron-major within each.

A tile holds some columns of every neuron, so that what a pass reads at random fits into the caches. The columns of a
tile are samples, all of one place: a step of a sequence, or the only place there is. Tiles lie place after place. See
:mod:`hpc_sparse.kernels.simd.columns` for where they lie, :mod:`hpc_sparse.kernels.simd.machine` for how wide tiles
are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from hpc_sparse.dtypes import VALUE, AnyArray, Float64Array, Int32Array
from hpc_sparse.kernels.simd.buffers import aligned_empty, padded_columns
from hpc_sparse.kernels.simd.columns import n_tiles_of, width_at, with_places
from hpc_sparse.kernels.simd.machine import FAR_BYTES, WIDTHS

tiles_of_columns: Any = getattr(n_tiles_of, "py_func", n_tiles_of)
width_of_tile: Any = getattr(width_at, "py_func", width_at)
"""The same as a plain function, which it is already where compilation is off."""


MOST_PARTS = 2
"""Tiles of which a training step keeps gradients apart: more would need more memory than other passes do."""


def gradient_parts(n_neurons: int, n_columns: int, width: int, item_bytes: int) -> int:
    """Parts in which a step computes the gradients of connections whose rows, of so many neurons, are read at random.

    One for each tile if the cache of a core holds a tile, so that a thread computes whole tiles and finds there what
    it has written; else 1.
    """
    return _parts(int(tiles_of_columns(n_columns, width)), n_neurons * width * item_bytes)


def _parts(n_tiles: int, tile_bytes: int) -> int:
    return n_tiles if tile_bytes <= FAR_BYTES and n_tiles <= MOST_PARTS else 1


def layout_of(width: int, n_columns: int, n_places: int) -> int:
    """How columns of so many places are divided into tiles, as kernels take it."""
    return width if n_places == 1 else with_places(width, n_columns // n_places)


class BatchShape(NamedTuple):
    """Shape of the activations of a batch, whatever the layer.

    Attributes
    ----------
    n_samples : int
    n_places : int
        Places of each sample, such as the steps of a sequence.
    """

    n_samples: int
    n_places: int = 1

    @property
    def n_columns(self) -> int:
        """Columns of all places, those beyond the samples included."""
        return self.n_places * padded_columns(self.n_samples)


class SourceRows(Protocol):
    """Rows of neurons that kernels read at random: tiles of one array, or of several."""

    @property
    def values(self) -> Any:
        """What kernels take."""
        ...

    @property
    def layout(self) -> int:
        """As of tiles."""
        ...

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        ...

    @property
    def gradient_parts(self) -> int:
        """As of tiles."""
        ...

    @property
    def is_single(self) -> bool:
        """Whether there is one tile only."""
        ...


@dataclass(frozen=True, slots=True)
class Tiles:
    """Activations or deltas of a layer for a batch.

    Attributes
    ----------
    values : float32[n_neurons * n_columns], or bfloat16 as uint16
        Tile after tile, for kernels; nobody else indexes it.
    n_neurons : int
    n_columns : int
        Samples, and what fills up the last tile: a multiple of the least width of a tile; of all places.
    width : int
        Columns of a tile, the last ones may be narrower; one of the widths of the machine.
    n_places : int
        Places of each sample.
    lengths : int32[n_columns / n_places] or None
        Places of each sample that count, where they differ.
    """

    values: AnyArray
    n_neurons: int
    n_columns: int
    width: int
    n_places: int = 1
    lengths: Int32Array | None = None

    def __post_init__(self) -> None:
        assert self.values.shape == (self.n_neurons * self.n_columns,), (self.values.shape, self.shape)
        assert self.width in WIDTHS, self.width

    @classmethod
    def empty(
        cls,
        n_neurons: int,
        n_samples: int,
        width: int,
        dtype: type[np.generic] = VALUE,
        *,
        buffer: AnyArray | None = None,
        n_places: int = 1,
    ) -> Tiles:
        """Tiles whose numbers are not set yet, in the front of a ``buffer`` if one is given."""
        n_columns = BatchShape(n_samples, n_places).n_columns
        size = n_neurons * n_columns
        values = aligned_empty(size, dtype) if buffer is None else buffer[:size]
        return cls(values, n_neurons, n_columns, width, n_places)

    @classmethod
    def of(cls, matrix: AnyArray, width: int = WIDTHS[-1]) -> Tiles:
        """A copy of float32[n_neurons, n_samples] or bfloat16, with zeros in the columns beyond."""
        n_neurons, n_samples = matrix.shape
        tiles = cls.empty(n_neurons, n_samples, width, matrix.dtype.type)
        for first, tile in tiles:
            own = matrix[:, first : first + tile.shape[1]]
            tile[:, : own.shape[1]] = own
            tile[:, own.shape[1] :] = 0
        return tiles

    @property
    def shape(self) -> tuple[int, int]:
        """(n_neurons, n_columns)."""
        return self.n_neurons, self.n_columns

    @property
    def batch(self) -> BatchShape:
        """Shape of the batch, the columns beyond its last sample counted as samples."""
        return BatchShape(self.n_columns // self.n_places, self.n_places)

    @property
    def layout(self) -> int:
        """How columns are divided into tiles, as kernels take it: the width, and what a place has of columns."""
        return layout_of(self.width, self.n_columns, self.n_places)

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return int(tiles_of_columns(self.n_columns, self.layout))

    @property
    def gradient_parts(self) -> int:
        """Parts in which a step computes the gradients of connections that read these rows at random."""
        return _parts(self.n_tiles, self.n_neurons * self.width * self.values.itemsize)

    @property
    def is_single(self) -> bool:
        """Whether there is one tile only."""
        return int(width_of_tile(0, self.n_columns, self.layout)) == self.n_columns

    def __iter__(self) -> Iterator[tuple[int, AnyArray]]:
        """The tiles, each [n_neurons, columns] with the number of its first column; writing changes the activations."""
        column, layout = 0, self.layout
        while column < self.n_columns:
            own = int(width_of_tile(column, self.n_columns, layout))
            start = column * self.n_neurons
            yield column, self.values[start : start + self.n_neurons * own].reshape(self.n_neurons, own)
            column += own

    def matrix(self) -> AnyArray:
        """[n_neurons, n_columns]: the numbers themselves if there is one tile, else a copy."""
        tiles = [tile for _, tile in self]
        return tiles[0] if len(tiles) == 1 else np.concatenate(tiles, axis=1)

    def like(self, n_neurons: int, batch: BatchShape | None = None) -> Tiles:
        """Tiles of another number of neurons for the same batch, or one of another shape; numbers not set yet."""
        n_samples, n_places = batch or self.batch
        return Tiles.empty(n_neurons, n_samples, self.width, self.values.dtype.type, n_places=n_places)

    def places(self, start: int, stop: int) -> Tiles:
        """The tiles of some places: a view."""
        n_columns = self.n_columns // self.n_places
        first, last = start * n_columns, stop * n_columns
        values = self.values[first * self.n_neurons : last * self.n_neurons]
        return Tiles(values, self.n_neurons, last - first, self.width, stop - start)

    def place(self, number: int) -> Tiles:
        """The tiles of one place: a view."""
        return self.places(number, number + 1)

    def exact(self, n_samples: int) -> Float64Array:
        """float64[n_places, n_neurons, n_samples]: the same numbers, for checks."""
        places = [self.place(number).matrix()[:, :n_samples] for number in range(self.n_places)]
        return np.array(places, np.float64)

    def paired(self, delta: Tiles, n_samples: int) -> tuple[Tiles, Tiles, int]:
        """Inputs, deltas and samples whose products are gradients: these themselves."""
        return self, delta, n_samples

    def with_lengths(self, lengths: Int32Array | None) -> Tiles:
        """The same numbers, of sequences of these lengths."""
        return self if lengths is None else replace(self, lengths=lengths)

    def as_places(self, n_places: int, buffer: AnyArray | None = None) -> Tiles:
        """The same numbers as those of several places, of which each has an equal part of the neurons.

        They stay where they are if there is one tile, else they are copied, into ``buffer`` if one is given.

        Parameters
        ----------
        n_places : int
            A divisor of the neurons.
        buffer : array, optional
            At least as long as the numbers.
        """
        assert self.n_places == 1, self.n_places
        assert self.n_neurons % n_places == 0, (self.n_neurons, n_places)
        n_neurons, n_samples = self.n_neurons // n_places, self.n_columns
        if self.is_single or n_places == 1:
            return Tiles(self.values, n_neurons, n_places * n_samples, self.width, n_places)
        placed = Tiles.empty(n_neurons, n_samples, self.width, self.values.dtype.type, buffer=buffer, n_places=n_places)
        for first, tile in self:
            for number in range(n_places):
                start = (number * n_samples + first) * n_neurons
                own = tile[number * n_neurons : (number + 1) * n_neurons].reshape(-1)
                placed.values[start : start + own.size] = own
        return placed
