"""Rows that kernels read at random: those of one array, or ranges of rows in several arrays.

Where a layer is divided over ranks, a rank has the rows of its own neurons. Those of others are in the arrays of these,
if it can read them, or in an array of ghosts that have come in messages, below and above the own neurons in the order
of the layer. Kernels take either kind of ``source``, a flat array or what :func:`row_ranges` makes, and are compiled
for each. One comparison for each range but the first finds a row, so rows need not be copied together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.kernels.simd.vector_code import INT64, pointer_or_value

RowRanges: TypeAlias = tuple[Any, ...]
"""Arrays, firsts and skipped of :func:`row_ranges`, one after the other, and the number of rows.

Flat, because parallel loops take no tuple in another one.
"""


def row_ranges(arrays: Sequence[AnyArray], firsts: Sequence[int], skipped: Sequence[int], n_rows: int) -> RowRanges:
    """Ranges of rows, one after the other in the order of the layer.

    Parameters
    ----------
    arrays : sequence of float32[n * n_columns] in tiles, or bfloat16 as uint16
        Where the rows of each range are; an array may serve several.
    firsts : sequence of int
        Number of the first row of each range, increasing from 0.
    skipped : sequence of int
        Number that the first row of each range's array would have.
    n_rows : int
    """
    return (*arrays, *firsts, *skipped, n_rows)


def n_rows(source: Any, n_columns: Any) -> Any:
    """Number of rows of so many columns."""
    return source[-1] if isinstance(source, tuple) else source.size // n_columns


def bytes_of_value(source: Any) -> Any:
    """Bytes of one of the numbers."""
    return (source[0] if isinstance(source, tuple) else source).itemsize


@overload(n_rows, inline="always", strict=False)
def _n_rows(source: Any, n_columns: Any) -> Any:
    if isinstance(source, types.Array):
        return lambda source, n_columns: source.size // n_columns
    last = len(source) - 1
    return lambda source, n_columns: source[last]  # noqa: ARG005


@overload(bytes_of_value, inline="always", strict=False)
def _bytes_of_value(source: Any) -> Any:
    if isinstance(source, types.Array):
        return lambda source: source.itemsize
    return lambda source: source[0].itemsize


def tile_base(source: Any, column: Any, n_columns: Any) -> Any:
    """Where the tile that begins with ``column`` is in each array, as intrinsics take it."""
    if not isinstance(source, tuple):
        return column * (source.size // n_columns)
    return tuple(column * (array.size // n_columns) for array in source[: (len(source) - 1) // 3])


@overload(tile_base, inline="always", strict=False)
def _tile_base(source: Any, column: Any, n_columns: Any) -> Any:
    find = _bases
    return lambda source, column, n_columns: find(source, column, n_columns)  # noqa: PLW0108  (this is compiled)


def _bases_of(tc: Any, source: Any, column: Any, n_columns: Any) -> Any:
    """Where the tile that begins with ``column`` is in each array, as intrinsics take it."""
    is_array = isinstance(source, types.Array)
    result = types.int64 if is_array else types.UniTuple(types.int64, _n_ranges(source))
    signature = result(source, types.int64, types.int64)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        value, column, n_columns = args
        found = [
            builder.mul(column, builder.sdiv(context.make_array(kind)(context, builder, array).nitems, n_columns))
            for kind, array in _arrays(builder, signature.args[0], value)
        ]
        if is_array:
            return found[0]
        return context.make_tuple(builder, signature.return_type, found)

    return signature, codegen


def _arrays(builder: ir.IRBuilder, kind: Any, value: ir.Value) -> list[tuple[types.Type, ir.Value]]:
    """Types and values of the arrays of a source."""
    if isinstance(kind, types.Array):
        return [(kind, value)]
    return list(zip(kind.types, cgutils.unpack_tuple(builder, value), strict=True))[: _n_ranges(kind)]


def _n_ranges(kind: Any) -> int:
    return (len(kind.types) - 1) // 3


_bases: Any = intrinsic(_bases_of)


class Tile:
    """A tile of one array."""

    def __init__(self, pointer: ir.Value) -> None:
        self.pointer = pointer

    def row(self, builder: ir.IRBuilder, neuron: ir.Value, width: int) -> ir.Value:
        """Pointer to the row of a neuron in a tile of ``width`` columns."""
        return builder.gep(self.pointer, [builder.mul(neuron, INT64(width))])


class TileOfRanges:
    """The same tile of several arrays.

    Parameters
    ----------
    builder : IRBuilder
    pointers, firsts, skipped : sequence of value
        For each range.
    """

    def __init__(
        self,
        builder: ir.IRBuilder,
        pointers: Sequence[ir.Value],
        firsts: Sequence[ir.Value],
        skipped: Sequence[ir.Value],
    ) -> None:
        self.pointer = pointers[0]
        self._pointers, self._firsts = pointers, firsts
        self._skipped = [builder.neg(each) for each in skipped]

    def row(self, builder: ir.IRBuilder, neuron: ir.Value, width: int) -> ir.Value:
        """Pointer to the row of a number in a tile of ``width`` columns."""
        # Where row 0 would be in each array: the same for all rows of a loop.
        first, *others = (
            builder.gep(pointer, [builder.mul(each, INT64(width))])
            for pointer, each in zip(self._pointers, self._skipped, strict=True)
        )
        found = first
        for start, other in zip(self._firsts[1:], others, strict=True):
            found = builder.select(builder.icmp_signed(">=", neuron, start), other, found)
        return builder.gep(found, [builder.mul(neuron, INT64(width))])


def tile_of_source(
    context: Any, builder: ir.IRBuilder, kinds: Sequence[types.Type], values: Sequence[ir.Value]
) -> Tile | TileOfRanges:
    """The tile of a source and its :func:`tile_base`, of which these are the types and values."""
    kind, (source, base) = kinds[0], values
    bases = [base] if isinstance(kind, types.Array) else cgutils.unpack_tuple(builder, base)
    pointers = [
        builder.gep(pointer_or_value(context, builder, *array), [at])
        for array, at in zip(_arrays(builder, kind, source), bases, strict=True)
    ]
    if isinstance(kind, types.Array):
        return Tile(pointers[0])
    n, numbers = len(pointers), cgutils.unpack_tuple(builder, source)
    return TileOfRanges(builder, pointers, numbers[n : 2 * n], numbers[2 * n : 3 * n])
