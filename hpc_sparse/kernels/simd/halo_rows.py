"""Rows that kernels read at random: those of one array, or own ones and, in another array, those of other ranks.

Where a layer is divided over ranks, each has the rows of its own neurons and, in the order of the layer, those of
others that it needs, ghosts. A neuron's local number counts both: ghosts below the own neurons, own ones, ghosts above.
Kernels take either kind of ``source``, a flat array or :class:`HaloRows`, and are compiled for each. Two comparisons
find a row, so that own rows need not be copied between ghosts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import overload

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.kernels.simd.vector_code import INT64, pointer_or_value


class HaloRows(NamedTuple):
    """Own rows and ghosts.

    Attributes
    ----------
    own : float32[n_own * n_columns] in tiles, or bfloat16 as uint16
    ghosts : float32[n_ghosts * n_columns] in tiles, or uint16
    n_below : int
        Ghosts before the own neurons.
    """

    own: AnyArray
    ghosts: AnyArray
    n_below: int


def n_rows(source: Any, n_columns: Any) -> Any:
    """Number of rows of so many columns (in kernels)."""
    raise NotImplementedError


def bytes_of_value(source: Any) -> Any:
    """Bytes of one of the numbers (in kernels)."""
    raise NotImplementedError


def tile_base(source: Any, column: Any, n_columns: Any) -> Any:
    """Where the tile that begins with ``column`` is, as intrinsics take it (in kernels)."""
    raise NotImplementedError


@overload(n_rows, inline="always", strict=False)
def _n_rows(source: Any, n_columns: Any) -> Any:
    if isinstance(source, types.Array):
        return lambda source, n_columns: source.size // n_columns
    return lambda source, n_columns: source.own.size // n_columns + source.ghosts.size // n_columns


@overload(bytes_of_value, inline="always", strict=False)
def _bytes_of_value(source: Any) -> Any:
    if isinstance(source, types.Array):
        return lambda source: source.itemsize
    return lambda source: source.own.itemsize


@overload(tile_base, inline="always", strict=False)
def _tile_base(source: Any, column: Any, n_columns: Any) -> Any:
    if isinstance(source, types.Array):
        return lambda source, column, n_columns: column * (source.size // n_columns)

    def of_halo(source: Any, column: Any, n_columns: Any) -> Any:
        n_own = source.own.size // n_columns
        return column * n_own, column * (source.ghosts.size // n_columns), n_own

    return of_halo


class Tile:
    """A tile of one array."""

    def __init__(self, pointer: ir.Value) -> None:
        self.pointer = pointer

    def row(self, builder: ir.IRBuilder, neuron: ir.Value, width: int) -> ir.Value:
        """Pointer to the row of a neuron in a tile of ``width`` columns."""
        return builder.gep(self.pointer, [builder.mul(neuron, INT64(width))])


class HaloTile:
    """A tile of own rows, and the same tile of ghosts."""

    def __init__(
        self, builder: ir.IRBuilder, own: ir.Value, ghosts: ir.Value, n_below: ir.Value, n_own: ir.Value
    ) -> None:
        self.pointer, self._ghosts, self._n_own = own, ghosts, n_own
        self._first, self._stop = n_below, builder.add(n_below, n_own)

    def row(self, builder: ir.IRBuilder, neuron: ir.Value, width: int) -> ir.Value:
        """Pointer to the row of a local number in a tile of ``width`` columns."""
        is_below = builder.icmp_signed("<", neuron, self._first)
        is_above = builder.icmp_signed(">=", neuron, self._stop)
        # How far the numbers of each range are from those of its rows.
        skipped = builder.select(is_above, self._n_own, builder.select(is_below, INT64(0), self._first))
        array = builder.select(builder.or_(is_below, is_above), self._ghosts, self.pointer)
        return builder.gep(array, [builder.mul(builder.sub(neuron, skipped), INT64(width))])


def tile_of_source(
    context: Any, builder: ir.IRBuilder, kinds: Sequence[types.Type], values: Sequence[ir.Value]
) -> Tile | HaloTile:
    """The tile of a source and its :func:`tile_base`, of which these are the types and values."""
    kind, (source, base) = kinds[0], values
    if isinstance(kind, types.Array):
        return Tile(builder.gep(pointer_or_value(context, builder, kind, source), [base]))
    of_arrays: Any = kind
    own, ghosts, n_below = cgutils.unpack_tuple(builder, source)
    own_base, ghost_base, n_own = cgutils.unpack_tuple(builder, base)
    arrays = [
        pointer_or_value(context, builder, *pair) for pair in zip(of_arrays.types[:2], (own, ghosts), strict=True)
    ]
    own_tile, ghost_tile = (builder.gep(*pair) for pair in zip(arrays, ([own_base], [ghost_base]), strict=True))
    return HaloTile(builder, own_tile, ghost_tile, n_below, n_own)
