"""The inner loops of sparse training as explicit vector code.

The work of a connection is one pass over the batch. Neuron-major activations make it a contiguous stream, which runs
in vector registers as long as the sums stay there. Compilers do not keep a tile of sums of unknown width in registers
across a loop over connections. These intrinsics therefore use LLVM vector types as wide as the machine's registers.

All are functions over array pointers and do no bounds checks: callers own the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.activation import BLOCK, WORDS, activated, activated_and_dropped, differentiated
from hpc_sparse.kernels.simd.vector_code import (
    INT32,
    INT64,
    float_vector,
    horizontal_sums,
    load_index,
    load_vector,
    loop,
    multiply_add,
    pointer_or_value,
    splat,
    store_vector,
)


def _native_lanes() -> int:
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx") else 4


LANES = _native_lanes()
"""float32 values in one vector register of this machine."""

TILE = 8 * LANES
"""Batch columns that :func:`row_sum` keeps in eight registers.

Eight independent sums hide the latency of a multiply-add and leave registers free on every machine.
"""

HALF_TILE, QUARTER_TILE = TILE // 2, TILE // 4
"""For narrower batches, and for what is left of wider ones."""

GROUP = 8
"""Connections whose gradients :data:`group_dots` computes at a time, one register each, for the same reason."""

FUSED_GROUP = 4
"""Connections at a time in :data:`row_sum_and_dots`, whose sums take eight registers more; 2 and 8 are slower. Of
those left over, two go together."""

SUM_GROUP = 4
"""Connections per turn of the loop of ``row_sum``, in order, so that this changes no bit; measured. One if it is
indirect, where more are slower in narrow batches."""

UNROLLED = 4
"""Vectors of columns per turn of the loop of :data:`group_dots`; measured."""

PADDING = 16
"""The row stride of activations is a multiple of this many columns: no remainder loops in the kernels."""


def _weighted_sum(
    builder: ir.IRBuilder,
    width: int,
    source: ir.Value,
    stride: ir.Value,
    column: ir.Value,
    indices: ir.Value,
    weight: ir.Value,
    position: ir.Value | None,
    start: ir.Value,
    stop: ir.Value,
    initial: ir.Value,
) -> ir.Value:
    """``initial + sum_k w_k * source[indices[k], column:][:width]`` over ``start <= k < stop`` in order.

    ``w_k`` is ``weight[k]``, or ``weight[position[k]]`` if there are positions.
    """
    base = builder.gep(source, [column])

    def add_connections(k: ir.Value, sums: list[ir.Value], n: int) -> list[ir.Value]:
        slots = [builder.add(k, INT64(i)) for i in range(n)]
        neurons = [load_index(builder, indices, slot) for slot in slots]
        rows = [builder.gep(base, [builder.mul(neuron, stride)]) for neuron in neurons]
        where = slots if position is None else [load_index(builder, position, slot) for slot in slots]
        scales = [builder.load(builder.gep(weight, [which])) for which in where]
        (total,) = sums
        for scale, row in zip(scales, rows, strict=True):
            values = load_vector(builder, row, width)
            total = multiply_add(builder, splat(builder, scale, width), values, total)
        return [total]

    group = SUM_GROUP if position is None else 1
    in_groups = builder.sub(stop, builder.srem(builder.sub(stop, start), INT64(group)))
    sums = [splat(builder, initial, width)]
    sums = loop(builder, start, in_groups, group, sums, partial(add_connections, n=group))
    (total,) = loop(builder, in_groups, stop, 1, sums, partial(add_connections, n=1))
    return total


def _make_row_sum(width: int) -> Callable[..., Any]:
    """Build ``row_sum``: ``f(initial + sum_k weight[k] * source[indices[k], column:][:width])``, activated, in ``out``.

    The sum runs over ``start <= k < stop`` in order, ``f`` is that of
    :func:`hpc_sparse.kernels.simd.activation.activated`, and ``out[out_offset:][:width]`` is overwritten. ``source``
    has row stride ``stride``.
    """

    @intrinsic
    def row_sum(typing_context, source, stride, column, indices, weight, start, stop, initial, slope, out, out_offset):
        signature = types.void(source, stride, column, indices, weight, start, stop, initial, slope, out, out_offset)

        def codegen(context, builder, signature, args):
            pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            source, stride, column, indices, weight, start, stop, initial, slope, out, out_offset = pointer
            connections = (indices, weight, None, start, stop, initial)
            total = _weighted_sum(builder, width, source, stride, column, *connections)
            store_vector(builder, activated(builder, total, slope), builder.gep(out, [out_offset]))
            return context.get_dummy_value()

        return signature, codegen

    return row_sum


def _make_indirect_row_sum(width: int) -> Callable[..., Any]:
    """Build ``row_sum``: ``out[out_offset:][:width] = sum_k w_k * source[indices[k], column:][:width]``.

    The sum runs over ``start <= k < stop`` in order; ``w_k`` is ``weight[position[k]]``. ``source`` has row stride
    ``stride``.
    """

    @intrinsic
    def row_sum(typing_context, source, stride, column, indices, weight, position, start, stop, out, out_offset):
        signature = types.void(source, stride, column, indices, weight, position, start, stop, out, out_offset)

        def codegen(context, builder, signature, args):
            pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            source, stride, column, indices, weight, position, start, stop, out, out_offset = pointer
            connections = (indices, weight, position, start, stop, ir.Constant(ir.FloatType(), 0.0))
            total = _weighted_sum(builder, width, source, stride, column, *connections)
            store_vector(builder, total, builder.gep(out, [out_offset]))
            return context.get_dummy_value()

        return signature, codegen

    return row_sum


def _make_row_sum_activated(width: int) -> Callable[..., Any]:
    """Build ``row_sum_activated``: a direct ``row_sum``, then activation and dropout before it leaves the registers.

    See :func:`hpc_sparse.kernels.simd.activation.activated_and_dropped`. In rows of few connections, writing sums,
    reading them and writing them again would cost as much as adding them up. ``out`` and ``record`` of the row begin at
    ``out_offset`` and ``place``, whatever the column.
    """

    @intrinsic
    def row_sum_activated(
        typing_context,
        source,
        stride,
        column,
        indices,
        weight,
        start,
        stop,
        initial,
        out,
        out_offset,
        slope,
        scale,
        drop_below,
        row_key,
        record,
        place,
    ):
        given = (source, stride, column, indices, weight, start, stop, initial, out, out_offset)
        signature = types.void(*given, slope, scale, drop_below, row_key, record, place)

        def codegen(context, builder, signature, args):
            pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            source, stride, column, indices, weight, start, stop, initial, out, out_offset = pointer[:10]
            slope, scale, drop_below, row_key, record, place = pointer[10:]
            connections = (indices, weight, None, start, stop, initial)
            total = _weighted_sum(builder, width, source, stride, column, *connections)
            for first in range(0, width, BLOCK):
                own = ir.Constant(ir.VectorType(INT32, BLOCK), list(range(first, first + BLOCK)))
                at = builder.add(column, INT64(first))
                words = builder.add(place, builder.mul(builder.lshr(at, INT64(BLOCK.bit_length() - 1)), INT64(WORDS)))
                sums = builder.shuffle_vector(total, total, own)
                active = activated_and_dropped(builder, sums, slope, scale, drop_below, row_key, at, record, words)
                store_vector(builder, active, builder.gep(out, [builder.add(out_offset, at)]))
            return context.get_dummy_value()

        return signature, codegen

    return row_sum_activated


def _make_group_dots(group: int) -> Callable[..., Any]:
    """Build ``group_dots``: for ``g < group``, ``out[out_offset + g] = sum_c delta_c * source[indices[k + g], c]``.

    The sum runs over all ``n_columns`` columns, which must be a multiple of the register width.
    """

    @intrinsic
    def group_dots(typing_context, delta, delta_offset, n_columns, source, indices, k, out, out_offset):
        signature = types.void(delta, delta_offset, n_columns, source, indices, k, out, out_offset)

        def codegen(context, builder, signature, args):
            pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            delta, delta_offset, n_columns, source, indices, k, out, out_offset = pointer
            own = builder.gep(delta, [delta_offset])
            neurons = [load_index(builder, indices, builder.add(k, INT64(g))) for g in range(group)]
            rows = [builder.gep(source, [builder.mul(neuron, n_columns)]) for neuron in neurons]

            def add_columns(column: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                factor = load_vector(builder, builder.gep(own, [column]), LANES)
                values = [load_vector(builder, builder.gep(row, [column]), LANES) for row in rows]
                return [multiply_add(builder, factor, *pair) for pair in zip(values, sums, strict=True)]

            def add_tile(column: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                for part in range(UNROLLED):
                    sums = add_columns(builder.add(column, INT64(part * LANES)), sums)
                return sums

            tile = UNROLLED * LANES
            in_tiles = builder.sub(n_columns, builder.srem(n_columns, INT64(tile)))
            zeros = [ir.Constant(float_vector(LANES), [0.0] * LANES)] * group
            sums = loop(builder, INT64(0), in_tiles, tile, zeros, add_tile)
            sums = loop(builder, in_tiles, n_columns, LANES, sums, add_columns)
            store_vector(builder, horizontal_sums(builder, sums), builder.gep(out, [out_offset]))
            return context.get_dummy_value()

        return signature, codegen

    return group_dots


def _make_row_sum_and_dots(width: int) -> Callable[..., Any]:
    """Build ``row_sum_and_dots``: an indirect ``row_sum`` over ``width`` columns and the dots of the same rows.

    For ``start <= k < stop``, in order: ``out[offset:][:width] += weight[position[k]] * delta[outs[k], :]``, from 0,
    and ``dots[position[k]] = sum_c delta[outs[k], c] * source[offset + c]``. All rows have ``width`` columns;
    ``out`` may be where ``source`` is. Each row of deltas is read once for both, which is what the two passes spend
    their time on. Before the sums leave the registers they are multiplied by the derivative that ``record[place:]``,
    ``slope`` and ``scale`` tell.
    """
    lanes = min(LANES, width)

    @intrinsic
    def row_sum_and_dots(
        typing_context,
        delta,
        outs,
        position,
        weight,
        start,
        stop,
        source,
        offset,
        record,
        place,
        slope,
        scale,
        out,
        dots,
    ):
        given = (delta, outs, position, weight, start, stop, source, offset, record, place, slope, scale, out, dots)
        signature = types.void(*given)

        def codegen(context, builder, signature, args):
            pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            delta, outs, position, weight, start, stop, source, offset, record, place, slope, scale, out, dots = pointer
            own, target = builder.gep(source, [offset]), builder.gep(out, [offset])
            columns = [INT64(column) for column in range(0, width, lanes)]
            zero = ir.Constant(float_vector(lanes), [0.0] * lanes)
            # Read once: for all that the compiler knows, the dots may be written to the same place.
            factors = [load_vector(builder, builder.gep(own, [column]), lanes) for column in columns]

            def add_group(k: ir.Value, sums: list[ir.Value], group: int) -> list[ir.Value]:
                slots = [builder.add(k, INT64(g)) for g in range(group)]
                rows = [builder.mul(load_index(builder, outs, slot), INT64(width)) for slot in slots]
                rows = [builder.gep(delta, [row]) for row in rows]
                where = [load_index(builder, position, slot) for slot in slots]
                scales = [splat(builder, builder.load(builder.gep(weight, [place])), lanes) for place in where]
                products = [zero] * group
                sums = list(sums)
                for part, (column, factor) in enumerate(zip(columns, factors, strict=True)):
                    for g in range(group):
                        values = load_vector(builder, builder.gep(rows[g], [column]), lanes)
                        sums[part] = multiply_add(builder, scales[g], values, sums[part])
                        products[g] = multiply_add(builder, factor, values, products[g])
                totals = horizontal_sums(builder, products)
                for g, place in enumerate(where):
                    builder.store(builder.extract_element(totals, INT32(g)), builder.gep(dots, [place]))
                return sums

            n_grouped = builder.sub(stop, builder.srem(builder.sub(stop, start), INT64(FUSED_GROUP)))
            sums = [zero] * len(columns)
            sums = loop(builder, start, n_grouped, FUSED_GROUP, sums, partial(add_group, group=FUSED_GROUP))
            n_paired = builder.sub(stop, builder.srem(builder.sub(stop, n_grouped), INT64(2)))
            sums = loop(builder, n_grouped, n_paired, 2, sums, partial(add_group, group=2))
            sums = loop(builder, n_paired, stop, 1, sums, partial(add_group, group=1))
            deltas = differentiated(builder, sums, slope, scale, record, place)
            for column, values in zip(columns, deltas, strict=True):
                store_vector(builder, values, builder.gep(target, [column]))
            return context.get_dummy_value()

        return signature, codegen

    return row_sum_and_dots


row_sum_tile = _make_row_sum(TILE)
row_sum_half = _make_row_sum(HALF_TILE)
row_sum_quarter = _make_row_sum(QUARTER_TILE)
row_sum_padding = _make_row_sum(PADDING)
row_sum_activated_tile = _make_row_sum_activated(TILE)
row_sum_activated_half = _make_row_sum_activated(HALF_TILE)
row_sum_activated_quarter = _make_row_sum_activated(max(QUARTER_TILE, BLOCK))
row_sum_activated_padding = _make_row_sum_activated(PADDING)
indirect_row_sum_tile = _make_indirect_row_sum(TILE)
indirect_row_sum_half = _make_indirect_row_sum(HALF_TILE)
indirect_row_sum_quarter = _make_indirect_row_sum(QUARTER_TILE)
indirect_row_sum_padding = _make_indirect_row_sum(PADDING)
row_sum_and_dots_tile = _make_row_sum_and_dots(TILE)
row_sum_and_dots_half = _make_row_sum_and_dots(HALF_TILE)
row_sum_and_dots_quarter = _make_row_sum_and_dots(QUARTER_TILE)
row_sum_and_dots_padding = _make_row_sum_and_dots(PADDING)
group_dots = _make_group_dots(GROUP)
half_group_dots = _make_group_dots(GROUP // 2)
pair_dots = _make_group_dots(2)
single_dot = _make_group_dots(1)
