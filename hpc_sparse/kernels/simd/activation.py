"""Activation, dropout and their derivatives, as explicit vector code over one block of columns at a time.

What the backward pass must know of an activation are two bits: whether it was kept, and whether the weighted sum was
negative. They are written as comparisons leave them in a vector register, one bit per column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hpc_sparse.kernels.hashing import MIX32_FACTORS, MIX32_SHIFTS
from hpc_sparse.kernels.simd.vector_code import (
    INT32,
    INT64,
    float_vector,
    load_vector,
    pointer_or_value,
    splat,
    store_vector,
)

BLOCK = 16
"""Columns at a time: the bits of one word of a record. Tiles are a multiple of this wide."""

WORDS = 2
"""Words per block in a record: the columns that were kept, and those whose weighted sum was negative."""

COLUMN_STEP = 0x9E3779B9
"""Increment of the hash input per column (2^32 / golden ratio)."""


def record_words(n_columns: int) -> int:
    """uint16 numbers in the record of one neuron for so many columns."""
    return n_columns // BLOCK * WORDS


_WORD = ir.IntType(BLOCK)
_BITS = ir.VectorType(ir.IntType(1), BLOCK)


def activated(builder: ir.IRBuilder, sums: ir.Value, slope: ir.Value) -> ir.Value:
    """``f(z) = z if z >= 0 else slope * z`` of a vector of weighted sums."""
    width = sums.type.count
    is_positive = builder.fcmp_ordered(">=", sums, ir.Constant(float_vector(width), [0.0] * width))
    return builder.select(is_positive, sums, builder.fmul(splat(builder, slope, width), sums))


def activated_and_dropped(
    builder: ir.IRBuilder,
    sums: ir.Value,
    slope: ir.Value,
    scale: ir.Value,
    drop_below: ir.Value,
    row_key: ir.Value,
    column: ir.Value,
    record: ir.Value,
    place: ir.Value,
) -> ir.Value:
    """Activation and inverted dropout of a block of weighted sums; ``record[place:][:WORDS]`` is overwritten.

    ``out = scale * f(z)`` with ``f(z) = z if z >= 0 else slope * z``. A column is dropped (``out = 0``) if its 32-bit
    hash of ``row_key`` and ``column`` is below ``drop_below``.
    """
    zero = ir.Constant(float_vector(BLOCK), [0.0] * BLOCK)
    is_kept = builder.icmp_unsigned(">=", _numbers(builder, row_key, column), splat(builder, drop_below, BLOCK))
    is_negative = builder.fcmp_ordered("<", sums, zero)
    active = builder.select(is_negative, builder.fmul(splat(builder, slope, BLOCK), sums), sums)
    active = builder.fmul(active, splat(builder, scale, BLOCK))
    for word, bits in enumerate((is_kept, is_negative)):
        target = builder.gep(record, [builder.add(place, INT64(word))])
        builder.store(builder.bitcast(bits, _WORD), target)
    return builder.select(is_kept, active, zero)


@intrinsic
def _differentiate(typing_context, deltas, offset, slope, scale, record, place):
    """Multiply ``deltas[offset:][:BLOCK]`` by the derivative of activation and dropout that the record tells."""
    signature = types.void(deltas, offset, slope, scale, record, place)

    def codegen(context, builder, signature, args):
        pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        deltas, offset, slope, scale, record, place = pointer
        where = builder.gep(deltas, [offset])
        (deltas,) = differentiated(builder, [load_vector(builder, where, BLOCK)], slope, scale, record, place)
        store_vector(builder, deltas, where)
        return context.get_dummy_value()

    return signature, codegen


def differentiated(
    builder: ir.IRBuilder,
    deltas: list[ir.Value],
    slope: ir.Value,
    scale: ir.Value,
    record: ir.Value,
    place: ir.Value,
) -> list[ir.Value]:
    """Vectors of deltas, one or several to a block, times the derivative that ``record`` tells from ``place`` on."""
    lanes = deltas[0].type.count
    steep, flat = (splat(builder, factor, lanes) for factor in (scale, builder.fmul(slope, scale)))
    results = []
    for first in range(0, len(deltas) * lanes, BLOCK):
        words = [builder.gep(record, [builder.add(place, INT64(first // BLOCK * WORDS + w))]) for w in range(WORDS)]
        block = [builder.bitcast(builder.load(word), _BITS) for word in words]
        for column in range(0, BLOCK, lanes):
            own = ir.Constant(ir.VectorType(INT32, lanes), list(range(column, column + lanes)))
            is_kept, is_negative = (builder.shuffle_vector(bits, bits, own) for bits in block)
            values = builder.fmul(deltas[(first + column) // lanes], builder.select(is_negative, flat, steep))
            results.append(builder.select(is_kept, values, ir.Constant(float_vector(lanes), [0.0] * lanes)))
    return results


def _numbers(builder: ir.IRBuilder, row_key: ir.Value, column: ir.Value) -> ir.Value:
    """The random 32-bit numbers of a block of columns: ``mix32`` of ``row_key + column * COLUMN_STEP``."""
    first = builder.add(row_key, builder.mul(builder.trunc(column, INT32), INT32(COLUMN_STEP)))
    steps = _constants([lane * COLUMN_STEP % (1 << 32) for lane in range(BLOCK)])
    number = builder.add(splat(builder, first, BLOCK), steps)
    for shift, factor in zip(MIX32_SHIFTS, (*MIX32_FACTORS, None), strict=True):
        number = builder.xor(number, builder.lshr(number, _constants([shift] * BLOCK)))
        if factor is not None:
            number = builder.mul(number, _constants([factor] * BLOCK))
    return number


def _constants(numbers: list[int]) -> Any:
    return ir.Constant(ir.VectorType(INT32, len(numbers)), numbers)


differentiate: Callable[..., Any] = _differentiate
