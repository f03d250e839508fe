"""Strips: sums of some rows of a block row for some columns of a tile, as explicit vector code.

A block multiplies r x c weights with c rows of a tile. A strip of a few rows and a group of columns has all its sums in
vector registers, over all blocks of the row. A vector of the source is then loaded once for all rows of the strip,
and a weight once for all columns of the group. So multiply-adds, not loads, take the time.

All are functions over array pointers and do no bounds checks: callers own the arithmetic. ``source`` is read from
``base`` on, where its tile begins; the row of neuron i lies ``i * width`` further. Sums run over blocks and, within a
block, over its rows of the source in ascending order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.activation import BLOCK
from hpc_sparse.kernels.simd.machine import LANES, SUMS, WIDTHS
from hpc_sparse.kernels.simd.vector_code import (
    INT64,
    float_vector,
    load_index,
    load_vector,
    loop,
    multiply_add,
    pointer_or_value,
    splat,
    store_vector,
)

Builder: TypeAlias = ir.IRBuilder
Value: TypeAlias = ir.Value

STRIPS = {16: (4, 1), 8: (4, 1), 4: (2, 1)}[LANES]
"""Rows that strips of a product can have, the most first; measured."""

TRANSPOSED_STRIPS = {16: (8, 4, 1), 8: (4, 1), 4: (2, 1)}[LANES]
"""Those of a transposed product, where weights of neighbouring rows are neighbours, too."""

REGISTERS = 2 * SUMS if LANES == 16 else SUMS
"""Vector registers of sums in a strip."""

ROOM = REGISTERS * LANES
"""Sums of a strip at most."""

UNROLLED = 4
"""Rows of the source per turn of the inner loop."""


def most_columns(n_rows: int) -> int:
    """Columns of a group in strips of so many rows: their sums fill the registers."""
    return max(BLOCK, min(WIDTHS[-1], ROOM // n_rows))


GROUPS, TRANSPOSED_GROUPS = (tuple(most_columns(n) for n in strips) for strips in (STRIPS, TRANSPOSED_STRIPS))
"""Columns of a group for each of the strips."""


@njit(inline="always")
def columns_at_a_time(strips, groups, n_rows, width):
    """Columns of a group for the strips of blocks of ``n_rows`` rows, in a tile of a width."""
    for i in range(len(strips)):
        if n_rows >= strips[i]:
            return min(groups[i], width)
    return width


class Walk(NamedTuple):
    """Values that the sums of a strip run over, in LLVM's terms.

    Attributes
    ----------
    source : pointer
        First row of the tile, from the first column of the group on.
    width : int64
        Of the tile.
    others : pointer
        Number of the block of the source for each slot.
    position : pointer or None
        Where the block of each slot is among the weights; None: in their order.
    weight : pointer
        From the first row of the strip on.
    row_step, other_step : int64
        From a weight to that of the next row of the strip, and to that of the next row of the source.
    start, stop : int64
        Slots.
    n_others : int64
        Rows of the source in a block.
    n_source : int64
        Rows of the source in all.
    block_size : int64
        Weights of a block.
    """

    source: Value
    width: Value
    others: Value
    position: Value | None
    weight: Value
    row_step: Value
    other_step: Value
    start: Value
    stop: Value
    n_others: Value
    n_source: Value
    block_size: Value


def strip_sums(builder: Builder, walk: Walk, group: int, sums: list[Value]) -> list[Value]:
    """The ``sums`` of a strip, a vector of ``group`` columns for each of its rows, plus those of all blocks."""

    def add_block(slot: Value, sums: list[Value]) -> list[Value]:
        where = slot if walk.position is None else load_index(builder, walk.position, slot)
        weights = builder.gep(walk.weight, [builder.mul(where, walk.block_size)])
        first = builder.mul(load_index(builder, walk.others, slot), walk.n_others)
        rows = builder.gep(walk.source, [builder.mul(first, walk.width)])
        left = builder.sub(walk.n_source, first)
        n = builder.select(builder.icmp_signed("<", left, walk.n_others), left, walk.n_others)
        whole = builder.sub(n, builder.srem(n, INT64(UNROLLED)))

        def add_rows(k: Value, sums: list[Value], n_rows: int) -> list[Value]:
            for i in range(n_rows):
                at = builder.add(k, INT64(i))
                values = load_vector(builder, builder.gep(rows, [builder.mul(at, walk.width)]), group)
                own = builder.gep(weights, [builder.mul(at, walk.other_step)])
                for row, total in enumerate(sums):
                    scale = builder.load(builder.gep(own, [builder.mul(walk.row_step, INT64(row))]))
                    sums[row] = multiply_add(builder, splat(builder, scale, group), values, total)
            return sums

        sums = loop(builder, INT64(0), whole, UNROLLED, sums, lambda k, s: add_rows(k, list(s), UNROLLED))
        return loop(builder, whole, n, 1, sums, lambda k, s: add_rows(k, list(s), 1))

    return loop(builder, walk.start, walk.stop, 1, sums, add_block)


def _for_strip(
    builder: Builder, strips: Sequence[int], n_rows: Value, columns: Value, emit: Callable[[int, int], None]
) -> Value:
    """Run what ``emit`` emits for the most rows of a strip that are left and the columns of the group; the rows."""
    done = builder.append_basic_block("strip_done")
    arrived: list[tuple[Value, ir.Block]] = []
    for rows in strips:
        fits, other = builder.append_basic_block(f"rows_{rows}"), builder.append_basic_block("fewer_rows")
        builder.cbranch(builder.icmp_signed(">=", n_rows, INT64(rows)), fits, other)
        builder.position_at_end(fits)
        widths = [width for width in WIDTHS if width <= most_columns(rows)]
        blocks = {width: builder.append_basic_block(f"rows_{rows}_columns_{width}") for width in widths}
        switch = builder.switch(columns, blocks[widths[0]])
        for width, block in blocks.items():
            if width != widths[0]:
                switch.add_case(INT64(width), block)
            builder.position_at_end(block)
            emit(rows, width)
            arrived.append((INT64(rows), builder.block))
            builder.branch(done)
        builder.position_at_end(other)
    builder.unreachable()  # the last strip is of one row, and one row is left at least
    builder.position_at_end(done)
    taken = builder.phi(INT64)
    for value, block in arrived:
        taken.add_incoming(value, block)
    return taken


def _make_strip(*, is_transposed: bool) -> Callable[..., Any]:
    """Build ``strip``: sums of the first rows of a block row that are still to be computed, for a group of columns.

    ``sums[i * columns:][:columns]`` becomes that of row ``row + i`` for as many rows as a strip takes, at most
    ``n_left``; their number is the result. ``at`` is where the columns begin in the first row of the source's tile.
    Blocks are ``size`` weights of ``n_others`` rows of the source for each row, of which there are ``n_source``. In
    either case ``weight_at`` is where the weights of the row begin within a block.

    Forward: blocks ``start <= slot < stop``; a block holds ``n_others`` weights of its first row, then those of the
    second; sums begin with ``initial[row]``. If it ``is_transposed``: blocks ``position[slot]``, which hold ``step``
    weights for the first row of the source, then those for the second; sums begin with 0.
    """
    strips = TRANSPOSED_STRIPS if is_transposed else STRIPS

    @intrinsic
    def strip(
        tc,
        columns,
        n_left,
        source,
        at,
        width,
        others,
        position,
        weight,
        weight_at,
        step,
        start,
        stop,
        n_others,
        n_source,
        size,
        initial,
        row,
        sums,
    ):
        given = (columns, n_left, source, at, width, others, position, weight, weight_at, step)
        signature = types.int64(*given, start, stop, n_others, n_source, size, initial, row, sums)

        def codegen(context, builder, signature, args):
            values = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            columns, n_left, source, at, width, others, position, weight, weight_at, step = values[:10]
            start, stop, n_others, n_source, size, initial, row, sums = values[10:]
            one = INT64(1)
            walk = Walk(
                builder.gep(source, [at]),
                width,
                others,
                position if is_transposed else None,
                builder.gep(weight, [weight_at]),
                one if is_transposed else step,
                step if is_transposed else one,
                start,
                stop,
                n_others,
                n_source,
                size,
            )

            def emit(n_rows: int, group: int) -> None:
                begin = [ir.Constant(float_vector(group), [0.0] * group)] * n_rows
                if not is_transposed:
                    places = [builder.gep(initial, [builder.add(row, INT64(i))]) for i in range(n_rows)]
                    begin = [splat(builder, builder.load(place), group) for place in places]
                for i, total in enumerate(strip_sums(builder, walk, group, begin)):
                    store_vector(builder, total, builder.gep(sums, [INT64(i * group)]))

            return _for_strip(builder, strips, n_left, columns, emit)

        return signature, codegen

    return strip


strip, transposed_strip = _make_strip(is_transposed=False), _make_strip(is_transposed=True)
"""For products, and for those with the transposed matrix."""
