"""Activations of a layer: tiles of columns, neuron-major within each.

A tile holds some columns of every neuron, so that what a pass reads at random fits into the caches. All columns are
samples. See :mod:`hpc_sparse.kernels.simd.columns` for where they lie, :mod:`hpc_sparse.kernels.simd.machine` for how
wide tiles are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_sparse.dtypes import VALUE, AnyArray
from hpc_sparse.kernels.simd.buffers import aligned_empty, padded_columns
from hpc_sparse.kernels.simd.columns import n_tiles_of, width_at
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
    n_tiles = int(tiles_of_columns(n_columns, width))
    is_near = n_neurons * width * item_bytes <= FAR_BYTES
    return n_tiles if is_near and n_tiles <= MOST_PARTS else 1


@dataclass(frozen=True, slots=True)
class Tiles:
    """Activations or deltas of a layer for a batch.

    Attributes
    ----------
    values : float32[n_neurons * n_columns], or bfloat16 as uint16
        Tile after tile, for kernels; nobody else indexes it.
    n_neurons : int
    n_columns : int
        Samples, and what fills up the last tile: a multiple of the least width of a tile.
    width : int
        Columns of a tile, the last ones may be narrower; one of the widths of the machine.
    """

    values: AnyArray
    n_neurons: int
    n_columns: int
    width: int

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
    ) -> Tiles:
        """Tiles whose numbers are not set yet, in the front of a ``buffer`` if one is given."""
        n_columns = padded_columns(n_samples)
        size = n_neurons * n_columns
        return cls(aligned_empty(size, dtype) if buffer is None else buffer[:size], n_neurons, n_columns, width)

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
    def n_tiles(self) -> int:
        """Number of tiles."""
        return int(tiles_of_columns(self.n_columns, self.width))

    @property
    def gradient_parts(self) -> int:
        """Parts in which a step computes the gradients of connections that read these rows at random."""
        return gradient_parts(self.n_neurons, self.n_columns, self.width, self.values.itemsize)

    @property
    def is_single(self) -> bool:
        """Whether there is one tile only."""
        return int(width_of_tile(0, self.n_columns, self.width)) == self.n_columns

    def __iter__(self) -> Iterator[tuple[int, AnyArray]]:
        """The tiles, each [n_neurons, columns] with the number of its first column; writing changes the activations."""
        column = 0
        while column < self.n_columns:
            own = int(width_of_tile(column, self.n_columns, self.width))
            start = column * self.n_neurons
            yield column, self.values[start : start + self.n_neurons * own].reshape(self.n_neurons, own)
            column += own

    def matrix(self) -> AnyArray:
        """[n_neurons, n_columns]: the numbers themselves if there is one tile, else a copy."""
        tiles = [tile for _, tile in self]
        return tiles[0] if len(tiles) == 1 else np.concatenate(tiles, axis=1)

    def like(self, n_neurons: int) -> Tiles:
        """Tiles for the same batch of another number of neurons, their numbers not set yet."""
        return Tiles.empty(n_neurons, self.n_columns, self.width, self.values.dtype.type)
