"""Building blocks of explicit vector code, in LLVM's own terms: loops, vectors, shuffles.

Each function emits instructions through a builder and returns the value they compute.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from hpc_sparse.kernels.simd.machine import WIDTHS

FLOAT = ir.FloatType()
INT32 = ir.IntType(32)
INT64 = ir.IntType(64)


def loop(
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


def for_width(builder: ir.IRBuilder, width: ir.Value, emit: Callable[[int], None]) -> None:
    """Run what ``emit`` emits for the width that a tile has."""
    done = builder.append_basic_block("done")
    blocks = {own: builder.append_basic_block(f"columns_{own}") for own in WIDTHS}
    switch = builder.switch(width, blocks[WIDTHS[0]])
    for own, block in blocks.items():
        if own != WIDTHS[0]:
            switch.add_case(INT64(own), block)
        builder.position_at_end(block)
        emit(own)
        builder.branch(done)
    builder.position_at_end(done)


def in_groups(
    builder: ir.IRBuilder,
    start: ir.Value,
    stop: ir.Value,
    group: int,
    state: list[ir.Value],
    add: Callable[..., list[ir.Value]],
) -> list[ir.Value]:
    """``add(k, state, n)`` over ``start <= k < stop``: ``group`` at a time, then half as many, and so on to one."""
    while group:
        whole = builder.sub(stop, builder.srem(builder.sub(stop, start), INT64(group)))
        state = loop(builder, start, whole, group, state, partial(add, n=group))
        start, group = whole, group // 2
    return state


def horizontal_sums(builder: ir.IRBuilder, sums: list[ir.Value]) -> ir.Value:
    """One vector of the lane sums of each of ``sums``: neighbours are added pairwise until one lane each is left."""
    if len(sums) > sums[0].type.count:
        half = len(sums) // 2
        left, right = horizontal_sums(builder, sums[:half]), horizontal_sums(builder, sums[half:])
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


def transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
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


def load_as_float(builder: ir.IRBuilder, pointer: ir.Value, width: int) -> ir.Value:
    """The ``width`` uint8 or float32 values from ``pointer`` on, as float32."""
    kind = ir.VectorType(pointer.type.pointee, width)
    values = builder.load(builder.bitcast(pointer, kind.as_pointer()), align=1)
    return values if pointer.type.pointee == FLOAT else builder.uitofp(values, float_vector(width))


def joined(builder: ir.IRBuilder, vectors: list[ir.Value], width: int) -> list[ir.Value]:
    """The same values in vectors of ``width`` lanes, a multiple of the lanes that they have."""
    while vectors[0].type.count < width:
        mask = ir.Constant(ir.VectorType(INT32, 2 * vectors[0].type.count), list(range(2 * vectors[0].type.count)))
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [builder.shuffle_vector(first, second, mask) for first, second in pairs]
    return vectors


def multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """``a * b + c``, fused where the machine can."""
    name = f"llvm.fmuladd.v{a.type.count}f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, [a, b, c])


def splat(builder: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
    """A vector with ``value``, a number of any type, in every lane."""
    undefined = ir.Constant(ir.VectorType(value.type, width), ir.Undefined)
    first = builder.insert_element(undefined, value, INT32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(INT32, width), [0] * width))


def load_vector(builder: ir.IRBuilder, pointer: ir.Value, width: int) -> ir.Value:
    """The ``width`` values from ``pointer`` on, float32 or bfloat16, as float32."""
    kind = ir.VectorType(pointer.type.pointee, width)
    values = builder.load(builder.bitcast(pointer, kind.as_pointer()), align=4 if pointer.type.pointee == FLOAT else 2)
    if pointer.type.pointee == FLOAT:
        return values
    return _from_bfloat16(builder, values)


def store_vector(builder: ir.IRBuilder, vector: ir.Value, pointer: ir.Value) -> None:
    """Write a vector of float32 to ``pointer``, as float32 or rounded to bfloat16."""
    kind = pointer.type.pointee
    if kind != FLOAT:
        vector = _rounded_to_bfloat16(builder, vector)
    builder.store(vector, builder.bitcast(pointer, vector.type.as_pointer()), align=4 if kind == FLOAT else 2)


def _from_bfloat16(builder: ir.IRBuilder, values: ir.Value) -> ir.Value:
    width = values.type.count
    words = builder.shl(builder.zext(values, ir.VectorType(INT32, width)), _words(16, width))
    return builder.bitcast(words, float_vector(width))


def _rounded_to_bfloat16(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """The upper halves of the numbers, rounded to nearest, ties to even; not-a-number stays one."""
    width = vector.type.count
    words = builder.bitcast(vector, ir.VectorType(INT32, width))
    is_odd = builder.and_(builder.lshr(words, _words(16, width)), _words(1, width))
    rounded = builder.lshr(builder.add(words, builder.add(is_odd, _words(0x7FFF, width))), _words(16, width))
    rounded = builder.select(builder.fcmp_unordered("uno", vector, vector), _words(0x7FC0, width), rounded)
    return builder.trunc(rounded, ir.VectorType(ir.IntType(16), width))


def _words(number: int, width: int) -> ir.Constant:
    return ir.Constant(ir.VectorType(INT32, width), [number] * width)


def load_index(builder: ir.IRBuilder, array: ir.Value, k: ir.Value) -> ir.Value:
    """``array[k]`` of integers, as 64 bits."""
    value = builder.load(builder.gep(array, [k]))
    return value if value.type == INT64 else builder.sext(value, INT64)


def pointer_or_value(context: Any, builder: ir.IRBuilder, kind: types.Type, value: ir.Value) -> ir.Value:
    """What an intrinsic computes with: the pointer to an array's data, or a scalar; a row pointer as 64 bits."""
    if isinstance(kind, types.Array):
        return context.make_array(kind)(context, builder, value).data
    return builder.sext(value, INT64) if kind == types.int32 else value


def item_bytes(pointer: ir.Value) -> int:
    """Bytes of the float32 or bfloat16 that a pointer points to."""
    return 4 if pointer.type.pointee == FLOAT else 2


def float_vector(width: int) -> ir.VectorType:
    """The type of ``width`` float32 values."""
    return ir.VectorType(FLOAT, width)


def _add_neighbours(builder: ir.IRBuilder, left: ir.Value, right: ir.Value, n_lanes: int) -> ir.Value:
    even, odd = (ir.Constant(ir.VectorType(INT32, n_lanes // 2), list(range(s, n_lanes, 2))) for s in (0, 1))
    return builder.fadd(builder.shuffle_vector(left, right, even), builder.shuffle_vector(left, right, odd))
