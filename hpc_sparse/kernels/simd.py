"""The inner loops of sparse training, and the transposition of batches, as explicit vector code.

A connection's work is one pass over the batch: neuron-major activations make it a contiguous
stream, so it runs in vector registers as long as the sums stay there. Compilers do not keep an
accumulator tile of unknown width in registers across a loop over connections; these intrinsics
say so in LLVM's own vector types, of a width chosen from the machine's registers.

All are functions over array pointers and do no bounds checks: callers own the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

FLOAT = ir.FloatType()
INT32 = ir.IntType(32)
INT64 = ir.IntType(64)


def _native_lanes() -> int:
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx") else 4


LANES = _native_lanes()
"""float32 values in one vector register of this machine."""

TILE = 8 * LANES
"""Batch columns that :func:`row_sum` keeps in eight registers: enough independent sums to hide the latency of
a multiply-add, few enough to leave registers free on every machine."""

GROUP = 8
"""Connections whose gradients :data:`group_dots` computes at a time, one register each, for the same reason."""

FUSED_GROUP = 4
"""Connections at a time in :data:`row_sum_and_dots`, whose sums take eight registers more; 2 and 8 are slower."""

UNROLLED = 4
"""Vectors of columns per turn of the loop of :data:`group_dots`; measured."""

PADDING = 16
"""The row stride of activations is a multiple of this many columns: no remainder loops in the kernels."""


def _make_row_sum(width: int, *, is_indirect: bool) -> Callable[..., Any]:
    """Build ``row_sum``: ``out[out_offset:][:width] = initial + sum_k w_k * source[indices[k], column:][:width]``.

    The sum runs over ``start <= k < stop`` in order; ``w_k`` is ``weight[k]``, or ``weight[position[k]]`` if
    indirect. ``source`` has row stride ``stride``.
    """

    @intrinsic
    def row_sum(
        typing_context, source, stride, column, indices, weight, position, start, stop, initial, out, out_offset
    ):
        signature = types.void(source, stride, column, indices, weight, position, start, stop, initial, out, out_offset)

        def codegen(context, builder, signature, args):
            pointer = [_pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            source, stride, column, indices, weight, position, start, stop, initial, out, out_offset = pointer
            base = builder.gep(source, [column])
            first = _splat(builder, initial, width)

            def add_connection(k: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                neuron = _load_index(builder, indices, k)
                which = _load_index(builder, position, k) if is_indirect else k
                scale = _splat(builder, builder.load(builder.gep(weight, [which])), width)
                row = _load_vector(builder, builder.gep(base, [builder.mul(neuron, stride)]), width)
                return [_multiply_add(builder, scale, row, sums[0])]

            (total,) = _loop(builder, start, stop, 1, [first], add_connection)
            _store_vector(builder, total, builder.gep(out, [out_offset]))
            return context.get_dummy_value()

        return signature, codegen

    return row_sum


def _make_group_dots(group: int) -> Callable[..., Any]:
    """Build ``group_dots``: for ``g < group``, ``out[out_offset + g] = sum_c delta_c * source[indices[k + g], c]``.

    The sum runs over all ``n_columns`` columns, which must be a multiple of the register width.
    """

    @intrinsic
    def group_dots(typing_context, delta, delta_offset, n_columns, source, indices, k, out, out_offset):
        signature = types.void(delta, delta_offset, n_columns, source, indices, k, out, out_offset)

        def codegen(context, builder, signature, args):
            pointer = [_pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            delta, delta_offset, n_columns, source, indices, k, out, out_offset = pointer
            own = builder.gep(delta, [delta_offset])
            neurons = [_load_index(builder, indices, builder.add(k, INT64(g))) for g in range(group)]
            rows = [builder.gep(source, [builder.mul(neuron, n_columns)]) for neuron in neurons]

            def add_columns(column: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                factor = _load_vector(builder, builder.gep(own, [column]), LANES)
                values = [_load_vector(builder, builder.gep(row, [column]), LANES) for row in rows]
                return [_multiply_add(builder, factor, *pair) for pair in zip(values, sums, strict=True)]

            def add_tile(column: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                for part in range(UNROLLED):
                    sums = add_columns(builder.add(column, INT64(part * LANES)), sums)
                return sums

            tile = UNROLLED * LANES
            in_tiles = builder.sub(n_columns, builder.srem(n_columns, INT64(tile)))
            zeros = [ir.Constant(_vector(LANES), [0.0] * LANES)] * group
            sums = _loop(builder, INT64(0), in_tiles, tile, zeros, add_tile)
            sums = _loop(builder, in_tiles, n_columns, LANES, sums, add_columns)
            _store_vector(builder, _horizontal_sums(builder, sums), builder.gep(out, [out_offset]))
            return context.get_dummy_value()

        return signature, codegen

    return group_dots


def _make_row_sum_and_dots() -> Callable[..., Any]:
    """Build ``row_sum_and_dots``: an indirect ``row_sum`` over TILE columns and the dots of the same rows, in one pass.

    For ``start <= k < stop``, in order: ``out[out_offset:][:TILE] += weight[position[k]] * delta[outs[k], :]``, from
    0, and ``dots[k] = sum_c delta[outs[k], c] * source[source_offset + c]``. All rows have TILE columns. Each row is
    read once for both, which is what the two passes spend their time on.
    """

    @intrinsic
    def row_sum_and_dots(
        typing_context, delta, outs, position, weight, start, stop, source, source_offset, out, out_offset, dots
    ):
        signature = types.void(delta, outs, position, weight, start, stop, source, source_offset, out, out_offset, dots)

        def codegen(context, builder, signature, args):
            pointer = [_pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            delta, outs, position, weight, start, stop, source, source_offset, out, out_offset, dots = pointer
            own = builder.gep(source, [source_offset])
            n_vectors = TILE // LANES
            zero = ir.Constant(_vector(LANES), [0.0] * LANES)

            def add_group(k: ir.Value, sums: list[ir.Value], group: int) -> list[ir.Value]:
                slots = [builder.add(k, INT64(g)) for g in range(group)]
                rows = [builder.mul(_load_index(builder, outs, slot), INT64(TILE)) for slot in slots]
                rows = [builder.gep(delta, [row]) for row in rows]
                where = [builder.gep(weight, [_load_index(builder, position, slot)]) for slot in slots]
                scales = [_splat(builder, builder.load(place), LANES) for place in where]
                products = [zero] * group
                sums = list(sums)
                for part in range(n_vectors):
                    column = [INT64(part * LANES)]
                    factor = _load_vector(builder, builder.gep(own, column), LANES)
                    for g in range(group):
                        values = _load_vector(builder, builder.gep(rows[g], column), LANES)
                        sums[part] = _multiply_add(builder, scales[g], values, sums[part])
                        products[g] = _multiply_add(builder, factor, values, products[g])
                _store_vector(builder, _horizontal_sums(builder, products), builder.gep(dots, [k]))
                return sums

            n_grouped = builder.sub(stop, builder.srem(builder.sub(stop, start), INT64(FUSED_GROUP)))
            sums = _loop(
                builder, start, n_grouped, FUSED_GROUP, [zero] * n_vectors, partial(add_group, group=FUSED_GROUP)
            )
            sums = _loop(builder, n_grouped, stop, 1, sums, partial(add_group, group=1))
            for part, total in enumerate(sums):
                target = builder.add(out_offset, INT64(part * LANES))
                _store_vector(builder, total, builder.gep(out, [target]))
            return context.get_dummy_value()

        return signature, codegen

    return row_sum_and_dots


@intrinsic
def _standardized_tile(typing_context, features, n_features, chosen, first, j, shift, scale, out, out_offset, stride):
    """For LANES samples x LANES features, ``out[out_offset + f * stride + s] = (x_sf - shift[j + f]) * scale[j + f]``.

    ``x_sf`` is ``features[chosen[first + s], j + f]``, uint8 or float32. Transposed in registers.
    """
    signature = types.void(features, n_features, chosen, first, j, shift, scale, out, out_offset, stride)

    def codegen(context, builder, signature, args):
        pointer = [_pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        features, n_features, chosen, first, j, shift, scale, out, out_offset, stride = pointer
        offset = _load_vector(builder, builder.gep(shift, [j]), LANES)
        factor = _load_vector(builder, builder.gep(scale, [j]), LANES)
        rows = []
        for sample in range(LANES):
            number = _load_index(builder, chosen, builder.add(first, INT64(sample)))
            start = builder.gep(features, [builder.add(builder.mul(number, n_features), j)])
            values = _load_as_float(builder, start, LANES)
            rows.append(builder.fmul(builder.fsub(values, offset), factor))
        for feature, column in enumerate(_transposed(builder, rows)):
            target = builder.add(out_offset, builder.mul(stride, INT64(feature)))
            _store_vector(builder, column, builder.gep(out, [target]))
        return context.get_dummy_value()

    return signature, codegen


def _loop(
    builder: ir.IRBuilder,
    start: ir.Value,
    stop: ir.Value,
    step: int,
    initial: list[ir.Value],
    body: Callable[[ir.Value, list[ir.Value]], list[ir.Value]],
) -> list[ir.Value]:
    """``for counter in range(start, stop, step): state = body(counter, state)``, with the state in registers."""
    before = builder.block
    inside, after = builder.append_basic_block("loop"), builder.append_basic_block("after_loop")
    builder.cbranch(builder.icmp_signed("<", start, stop), inside, after)
    builder.position_at_end(inside)
    counter = builder.phi(INT64)
    state = [builder.phi(value.type) for value in initial]
    updated = body(counter, state)
    following = builder.add(counter, INT64(step))
    for phi, first, later in zip([counter, *state], [start, *initial], [following, *updated], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    last = builder.block
    builder.cbranch(builder.icmp_signed("<", following, stop), inside, after)
    builder.position_at_end(after)
    results = [builder.phi(value.type) for value in initial]
    for phi, first, later in zip(results, initial, updated, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, last)
    return results


def _horizontal_sums(builder: ir.IRBuilder, sums: list[ir.Value]) -> ir.Value:
    """One vector of the lane sums of each of ``sums``: neighbours are added pairwise until one lane each is left."""
    if len(sums) > sums[0].type.count:
        half = len(sums) // 2
        left, right = _horizontal_sums(builder, sums[:half]), _horizontal_sums(builder, sums[half:])
        in_order = ir.Constant(ir.VectorType(INT32, len(sums)), list(range(len(sums))))
        return builder.shuffle_vector(left, right, in_order)
    vectors = sums
    while len(vectors) > 1:
        vectors = [
            _add_neighbours(builder, left, right, 2 * left.type.count)
            for left, right in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    vector = vectors[0]
    while vector.type.count > len(sums):
        vector = _add_neighbours(builder, vector, vector, vector.type.count)
    return vector


def _add_neighbours(builder: ir.IRBuilder, left: ir.Value, right: ir.Value, n_lanes: int) -> ir.Value:
    even, odd = (ir.Constant(ir.VectorType(INT32, n_lanes // 2), list(range(s, n_lanes, 2))) for s in (0, 1))
    return builder.fadd(builder.shuffle_vector(left, right, even), builder.shuffle_vector(left, right, odd))


def _transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Transpose n vectors of n lanes: swap blocks of 1, 2, 4, ... lanes across the diagonal."""
    n, vectors = len(rows), list(rows)
    step = 1
    while step < n:
        from_first = [lane if not lane & step else n + lane - step for lane in range(n)]
        from_second = [lane + step if not lane & step else n + lane for lane in range(n)]
        masks = [ir.Constant(ir.VectorType(INT32, n), mask) for mask in (from_first, from_second)]
        for row in (row for row in range(n) if not row & step):
            pair = vectors[row], vectors[row + step]
            vectors[row], vectors[row + step] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        step *= 2
    return vectors


def _load_as_float(builder: ir.IRBuilder, pointer: ir.Value, width: int) -> ir.Value:
    kind = ir.VectorType(pointer.type.pointee, width)
    values = builder.load(builder.bitcast(pointer, kind.as_pointer()), align=1)
    return values if pointer.type.pointee == FLOAT else builder.uitofp(values, _vector(width))


def _multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """``a * b + c``, fused where the machine can."""
    name = f"llvm.fmuladd.v{a.type.count}f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, [a, b, c])


def _splat(builder: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
    undefined = ir.Constant(_vector(width), ir.Undefined)
    first = builder.insert_element(undefined, value, INT32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(INT32, width), [0] * width))


def _load_vector(builder: ir.IRBuilder, pointer: ir.Value, width: int) -> ir.Value:
    return builder.load(builder.bitcast(pointer, _vector(width).as_pointer()), align=4)


def _store_vector(builder: ir.IRBuilder, vector: ir.Value, pointer: ir.Value) -> None:
    builder.store(vector, builder.bitcast(pointer, vector.type.as_pointer()), align=4)


def _load_index(builder: ir.IRBuilder, array: ir.Value, k: ir.Value) -> ir.Value:
    value = builder.load(builder.gep(array, [k]))
    return value if value.type == INT64 else builder.sext(value, INT64)


def _pointer_or_value(context: Any, builder: ir.IRBuilder, kind: types.Type, value: ir.Value) -> ir.Value:
    return context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value


def _vector(width: int) -> ir.VectorType:
    return ir.VectorType(FLOAT, width)


row_sum_tile = _make_row_sum(TILE, is_indirect=False)
row_sum_half = _make_row_sum(TILE // 2, is_indirect=False)
row_sum_padding = _make_row_sum(PADDING, is_indirect=False)
indirect_row_sum_tile = _make_row_sum(TILE, is_indirect=True)
indirect_row_sum_half = _make_row_sum(TILE // 2, is_indirect=True)
indirect_row_sum_padding = _make_row_sum(PADDING, is_indirect=True)
row_sum_and_dots = _make_row_sum_and_dots()
standardized_tile: Callable[..., Any] = _standardized_tile
group_dots = _make_group_dots(GROUP)
half_group_dots = _make_group_dots(GROUP // 2)
single_dot = _make_group_dots(1)
