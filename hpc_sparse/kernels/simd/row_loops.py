"""The inner loops of sparse training as explicit vector code.

The work of a connection is one pass over the columns of a tile. Neuron-major tiles make it a contiguous stream, which
runs in vector registers as long as the sums stay there. Compilers do not keep a tile of sums of unknown width in
registers across a loop over connections. These intrinsics therefore hold a loop of LLVM vectors for each width that a
tile can have, the first argument.

All are functions over array pointers and do no bounds checks: callers own the arithmetic. Offsets count numbers from
the start of a flat array. ``source`` and ``delta`` are read from ``base`` on, where their tile begins; its row of
neuron i lies ``i * width`` further. Both can be :class:`hpc_sparse.kernels.simd.row_ranges.RowRanges`, too. ``last`` is
the number of the last connection of all. Rows of a tile whose ``distance`` is not near are asked for early, see
:mod:`hpc_sparse.kernels.simd.prefetch`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.activation import BLOCK, WORDS, activated, activated_and_dropped, differentiated
from hpc_sparse.kernels.simd.machine import LANES
from hpc_sparse.kernels.simd.prefetch import NEAR, ahead, prefetch, prefetch_rows
from hpc_sparse.kernels.simd.row_ranges import Tile, TileOfRanges, tile_of_source
from hpc_sparse.kernels.simd.vector_code import (
    FLOAT,
    INT32,
    INT64,
    float_vector,
    for_width,
    horizontal_sums,
    in_groups,
    item_bytes,
    joined,
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

SUM_GROUP = 4
"""Connections per turn of the loop of ``row_sum``, in order, so that this changes no bit; measured. One if it is
indirect, where more are slower in narrow tiles."""

DOT_GROUP = 8
"""Connections whose gradients ``row_dots`` computes at a time, one register each."""

FUSED_GROUP = 4
"""Connections at a time in ``row_sum_and_dots``, whose sums take eight registers more; 2 and 8 are slower."""


def _pointers(context: Any, builder: Builder, signature: Any, args: Any) -> list[Value]:
    """Pointers to the data of arrays, and scalars."""
    return [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]


def _tile(context: Any, builder: Builder, signature: Any, args: Any) -> Tile | TileOfRanges:
    """The tile that the second and third arguments, a source and its base, tell."""
    return tile_of_source(context, builder, signature.args[1:3], args[1:3])


def _ask_ahead(
    builder: Builder,
    distance: Value,
    tile: Tile | TileOfRanges,
    width: int,
    indices: Value,
    k: Value,
    n: int,
    last: Value,
) -> None:
    """Ask for the rows of the ``n`` connections that come some connections after ``k``, if they are not near."""
    with builder.if_then(_is_not_near(builder, distance)):
        neurons = [ahead(builder, indices, builder.add(k, INT64(i)), last) for i in range(n)]
        rows = [tile.row(builder, neuron, width) for neuron in neurons]
        prefetch_rows(builder, distance, rows, width * item_bytes(tile.pointer))


def _is_not_near(builder: Builder, distance: Value) -> Value:
    return builder.icmp_signed(">", distance, INT64(NEAR))


def _weighted_sum(
    builder: Builder,
    width: int,
    tile: Tile | TileOfRanges,
    indices: Value,
    weight: Value,
    position: Value | None,
    start: Value,
    stop: Value,
    last: Value,
    distance: Value,
    initial: Value,
) -> Value:
    """``initial + sum_k w_k * row of indices[k]`` over ``start <= k < stop`` in order.

    ``w_k`` is ``weight[k]``, or ``weight[position[k]]`` if there are positions.
    """

    def add_connections(k: Value, sums: list[Value], n: int) -> list[Value]:
        _ask_ahead(builder, distance, tile, width, indices, k, n, last)
        slots = [builder.add(k, INT64(i)) for i in range(n)]
        rows = [tile.row(builder, load_index(builder, indices, slot), width) for slot in slots]
        where = slots if position is None else [load_index(builder, position, slot) for slot in slots]
        scales = [builder.load(builder.gep(weight, [which])) for which in where]
        (total,) = sums
        for scale, row in zip(scales, rows, strict=True):
            total = multiply_add(builder, splat(builder, scale, width), load_vector(builder, row, width), total)
        return [total]

    group = SUM_GROUP if position is None else 1
    in_groups = builder.sub(stop, builder.srem(builder.sub(stop, start), INT64(group)))
    sums = loop(builder, start, in_groups, group, [splat(builder, initial, width)], partial(add_connections, n=group))
    (total,) = loop(builder, in_groups, stop, 1, sums, partial(add_connections, n=1))
    return total


@intrinsic
def _row_sum(tc, width, source, base, indices, weight, start, stop, last, distance, initial, slope, out, out_offset):
    """``out[out_offset:][:width] = f(initial + sum_k weight[k] * row of indices[k])`` over ``start <= k < stop``.

    The sum runs in order; ``f`` is :func:`hpc_sparse.kernels.simd.activation.activated`.
    """
    given = (width, source, base, indices, weight, start, stop, last, distance, initial, slope, out, out_offset)
    signature = types.void(*given)

    def codegen(context, builder, signature, args):
        values = _pointers(context, builder, signature, args)
        width, _, _, indices, weight, start, stop, last, distance, initial, slope, out, out_offset = values
        tile = _tile(context, builder, signature, args)
        connections = (indices, weight, None, start, stop, last, distance, initial)

        def emit(own: int) -> None:
            total = _weighted_sum(builder, own, tile, *connections)
            store_vector(builder, activated(builder, total, slope), builder.gep(out, [out_offset]))

        for_width(builder, width, emit)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _indirect_row_sum(tc, width, source, base, indices, position, weight, start, stop, last, distance, out, out_offset):
    """``out[out_offset:][:width] = sum_k weight[position[k]] * row of indices[k]``, in order."""
    given = (width, source, base, indices, position, weight, start, stop, last, distance, out, out_offset)
    signature = types.void(*given)

    def codegen(context, builder, signature, args):
        values = _pointers(context, builder, signature, args)
        width, _, _, indices, position, weight, start, stop, last, distance, out, out_offset = values
        tile = _tile(context, builder, signature, args)
        connections = (indices, weight, position, start, stop, last, distance, ir.Constant(FLOAT, 0.0))

        def emit(own: int) -> None:
            total = _weighted_sum(builder, own, tile, *connections)
            store_vector(builder, total, builder.gep(out, [out_offset]))

        for_width(builder, width, emit)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _row_sum_activated(
    tc,
    width,
    source,
    base,
    indices,
    weight,
    start,
    stop,
    last,
    distance,
    initial,
    out,
    out_offset,
    column,
    slope,
    scale,
    drop_below,
    row_key,
    record,
    place,
):
    """A :data:`row_sum`, then activation and dropout before it leaves the registers.

    See :func:`hpc_sparse.kernels.simd.activation.activated_and_dropped`. In rows of few connections, writing sums,
    reading them and writing them again would cost as much as adding them up. The row's part of ``record`` begins at
    ``place``. ``column`` is the number of the tile's first column, for the random numbers.
    """
    given = (width, source, base, indices, weight, start, stop, last, distance, initial, out, out_offset, column)
    signature = types.void(*given, slope, scale, drop_below, row_key, record, place)

    def codegen(context, builder, signature, args):
        values = _pointers(context, builder, signature, args)
        width, _, _, indices, weight, start, stop, last, distance, initial, out, out_offset, column = values[:13]
        tile = _tile(context, builder, signature, args)
        slope, scale, drop_below, row_key, record, place = values[13:]
        connections = (indices, weight, None, start, stop, last, distance, initial)

        def emit(own: int) -> None:
            total = _weighted_sum(builder, own, tile, *connections)
            for first in range(0, own, BLOCK):
                lanes = ir.Constant(ir.VectorType(INT32, BLOCK), list(range(first, first + BLOCK)))
                at, words = builder.add(column, INT64(first)), builder.add(place, INT64(first // BLOCK * WORDS))
                sums = builder.shuffle_vector(total, total, lanes)
                active = activated_and_dropped(builder, sums, slope, scale, drop_below, row_key, at, record, words)
                store_vector(builder, active, builder.gep(out, [builder.add(out_offset, INT64(first))]))

        for_width(builder, width, emit)
        return context.get_dummy_value()

    return signature, codegen


def _row_vectors(builder: Builder, row: Value, width: int) -> list[Value]:
    """The values of a row, a register at a time."""
    lanes = min(LANES, width)
    return [load_vector(builder, builder.gep(row, [INT64(c)]), lanes) for c in range(0, width, lanes)]


def _store_dots(builder: Builder, totals: Value, n: int, targets: list[Value], *, adds: bool) -> None:
    """Write ``n`` dots, or add them to what is there, at neighbouring places or at places of their own."""
    if len(targets) == 1 and n > 1:
        values = builder.fadd(load_vector(builder, targets[0], n), totals) if adds else totals
        store_vector(builder, values, targets[0])
        return
    for number, target in enumerate(targets):
        value = builder.extract_element(totals, INT32(number))
        builder.store(builder.fadd(builder.load(target), value) if adds else value, target)


def _make_row_dots(*, adds: bool) -> Callable[..., Any]:
    """Build ``row_dots``: ``dots[k + shift] = sum_c own_c * (row of indices[k])_c`` over ``start <= k < stop``.

    ``own`` is the row of ``delta`` that begins at ``offset``. If it ``adds``, the dots are added to what is there.
    """

    @intrinsic
    def row_dots(tc, width, source, base, indices, start, stop, last, distance, delta, offset, dots, shift):
        given = (width, source, base, indices, start, stop, last, distance, delta, offset, dots, shift)
        signature = types.void(*given)

        def codegen(context, builder, signature, args):
            values = _pointers(context, builder, signature, args)
            width, _, _, indices, start, stop, last, distance, delta, offset, dots, shift = values
            tile = _tile(context, builder, signature, args)

            def emit(own: int) -> None:
                lanes = min(LANES, own)
                factors = _row_vectors(builder, builder.gep(delta, [offset]), own)

                def add_group(k: Value, nothing: list[Value], n: int) -> list[Value]:
                    _ask_ahead(builder, distance, tile, own, indices, k, n, last)
                    slots = [builder.add(k, INT64(g)) for g in range(n)]
                    rows = [tile.row(builder, load_index(builder, indices, slot), own) for slot in slots]
                    products = [ir.Constant(float_vector(lanes), [0.0] * lanes)] * n
                    for part, factor in enumerate(factors):
                        at = INT64(part * lanes)
                        values = [load_vector(builder, builder.gep(row, [at]), lanes) for row in rows]
                        products = [multiply_add(builder, factor, *pair) for pair in zip(values, products, strict=True)]
                    target = builder.gep(dots, [builder.add(k, shift)])
                    _store_dots(builder, horizontal_sums(builder, products), n, [target], adds=adds)
                    return nothing

                in_groups(builder, start, stop, DOT_GROUP, [], add_group)

            for_width(builder, width, emit)
            return context.get_dummy_value()

        return signature, codegen

    return row_dots


def _make_row_sum_and_dots(*, is_indirect: bool, adds: bool) -> Callable[..., Any]:
    """Build ``row_sum_and_dots``: the row sum of a neuron below and the dots of the same rows in one pass over them.

    For ``start <= k < stop``, in order: ``out[offset:][:width] += weight[p] * row of outs[k]``, from 0, and
    ``dots[p] = sum_c (row of outs[k])_c * source[offset + c]``, added to what is there if it ``adds``. Here
    ``p = position[k]`` if it ``is_indirect``, else ``p = k``. ``out`` may be where ``source`` is. Each row of deltas is
    read once for both, which is what the two passes spend their time on. Before the sums leave the registers they are
    multiplied by the derivative that ``record[place:]``, ``slope`` and ``scale`` tell.
    """

    @intrinsic
    def row_sum_and_dots(
        tc,
        width,
        delta,
        base,
        outs,
        position,
        weight,
        start,
        stop,
        last,
        distance,
        source,
        offset,
        record,
        place,
        slope,
        scale,
        out,
        dots,
    ):
        given = (width, delta, base, outs, position, weight, start, stop, last, distance, source, offset)
        signature = types.void(*given, record, place, slope, scale, out, dots)

        def codegen(context, builder, signature, args):
            values = _pointers(context, builder, signature, args)
            width, _, _, outs, position, weight, start, stop, last, distance, source, offset = values[:12]
            record, place, slope, scale, out, dots = values[12:]
            tile, target = _tile(context, builder, signature, args), builder.gep(out, [offset])

            def emit(own: int) -> None:
                lanes = min(LANES, own)
                zero = ir.Constant(float_vector(lanes), [0.0] * lanes)
                # Read once: for all that the compiler knows, the dots may be written to the same place.
                factors = _row_vectors(builder, builder.gep(source, [offset]), own)

                def add_group(k: Value, sums: list[Value], n: int) -> list[Value]:
                    _ask_ahead(builder, distance, tile, own, outs, k, n, last)
                    if is_indirect:
                        with builder.if_then(_is_not_near(builder, distance)):
                            for g in range(n):
                                at = ahead(builder, position, builder.add(k, INT64(g)), last)
                                prefetch(builder, builder.gep(weight, [at]), 1)
                    slots = [builder.add(k, INT64(g)) for g in range(n)]
                    rows = [tile.row(builder, load_index(builder, outs, slot), own) for slot in slots]
                    where = [load_index(builder, position, slot) for slot in slots] if is_indirect else slots
                    scales = [splat(builder, builder.load(builder.gep(weight, [which])), lanes) for which in where]
                    products, sums = [zero] * n, list(sums)
                    for part, factor in enumerate(factors):
                        for g, row in enumerate(rows):
                            values = load_vector(builder, builder.gep(row, [INT64(part * lanes)]), lanes)
                            sums[part] = multiply_add(builder, scales[g], values, sums[part])
                            products[g] = multiply_add(builder, factor, values, products[g])
                    places = [builder.gep(dots, [which]) for which in (where if is_indirect else where[:1])]
                    _store_dots(builder, horizontal_sums(builder, products), n, places, adds=adds)
                    return sums

                sums = in_groups(builder, start, stop, FUSED_GROUP, [zero] * len(factors), add_group)
                blocks = joined(builder, sums, BLOCK)
                for part, values in enumerate(differentiated(builder, blocks, slope, scale, record, place)):
                    store_vector(builder, values, builder.gep(target, [INT64(part * BLOCK)]))

            for_width(builder, width, emit)
            return context.get_dummy_value()

        return signature, codegen

    return row_sum_and_dots


row_sum: Callable[..., Any] = _row_sum
indirect_row_sum: Callable[..., Any] = _indirect_row_sum
row_sum_activated: Callable[..., Any] = _row_sum_activated
row_dots, more_row_dots = _make_row_dots(adds=False), _make_row_dots(adds=True)
"""For the first tile, and for others."""

indirect_row_sum_and_dots = _make_row_sum_and_dots(is_indirect=True, adds=False)
row_sum_and_dots = _make_row_sum_and_dots(is_indirect=False, adds=False)
row_sum_and_more_dots = _make_row_sum_and_dots(is_indirect=False, adds=True)
