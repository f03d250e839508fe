"""The inner loops of convolutions as explicit vector code.

A place of an image is a set of tiles of its own, so a tap reads a row of the tile of another place: no image is copied.
``rows`` says where each row begins that the taps of a place may read: ``rows[indices[k]]`` numbers from the start of
``source``. The sums of a place stay in vector registers over all taps. Offsets count numbers; nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.machine import LANES
from hpc_sparse.kernels.simd.vector_code import (
    INT64,
    float_vector,
    for_width,
    horizontal_sums,
    in_groups,
    load_index,
    load_vector,
    multiply_add,
    pointer_or_value,
    splat,
    store_vector,
)

Builder: TypeAlias = ir.IRBuilder
Value: TypeAlias = ir.Value

SUM_GROUP = 4
"""Taps per turn of the loop of ``place_sum``, in order."""

DOT_GROUP = 8
"""Taps whose gradients ``more_place_dots`` computes at a time, one register each."""


def _row(builder: Builder, source: Value, rows: Value, indices: Value, slot: Value) -> Value:
    """Pointer to the row that a tap reads."""
    return builder.gep(source, [load_index(builder, rows, load_index(builder, indices, slot))])


@intrinsic
def _place_sum(tc, width, source, rows, indices, weight, start, stop, initial, out, out_offset):
    """``out[out_offset:][:width] = initial + sum_k weight[k] * row of indices[k]``, in order; ``start <= k < stop``."""
    signature = types.void(width, source, rows, indices, weight, start, stop, initial, out, out_offset)

    def codegen(context, builder, signature, args):
        values = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        width, source, rows, indices, weight, start, stop, initial, out, out_offset = values

        def emit(own: int) -> None:
            def add_taps(k: Value, sums: list[Value], n: int) -> list[Value]:
                (total,) = sums
                slots = [builder.add(k, INT64(i)) for i in range(n)]
                for slot, row in [(slot, _row(builder, source, rows, indices, slot)) for slot in slots]:
                    scale = splat(builder, builder.load(builder.gep(weight, [slot])), own)
                    total = multiply_add(builder, scale, load_vector(builder, row, own), total)
                return [total]

            (total,) = in_groups(builder, start, stop, SUM_GROUP, [splat(builder, initial, own)], add_taps)
            store_vector(builder, total, builder.gep(out, [out_offset]))

        for_width(builder, width, emit)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _more_place_dots(tc, width, source, rows, indices, start, stop, delta, offset, dots):
    """``dots[k] += sum_c own_c * (row of indices[k])_c`` over ``start <= k < stop``.

    ``own`` is the row of ``delta`` that begins at ``offset``.
    """
    signature = types.void(width, source, rows, indices, start, stop, delta, offset, dots)

    def codegen(context, builder, signature, args):
        values = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        width, source, rows, indices, start, stop, delta, offset, dots = values

        def emit(own: int) -> None:
            lanes = min(LANES, own)
            parts = [INT64(column) for column in range(0, own, lanes)]
            given = builder.gep(delta, [offset])
            factors = [load_vector(builder, builder.gep(given, [at]), lanes) for at in parts]

            def add_group(k: Value, nothing: list[Value], n: int) -> list[Value]:
                taps = [_row(builder, source, rows, indices, builder.add(k, INT64(g))) for g in range(n)]
                products = [ir.Constant(float_vector(lanes), [0.0] * lanes)] * n
                for at, factor in zip(parts, factors, strict=True):
                    values = [load_vector(builder, builder.gep(row, [at]), lanes) for row in taps]
                    products = [multiply_add(builder, factor, *pair) for pair in zip(values, products, strict=True)]
                target, totals = builder.gep(dots, [k]), horizontal_sums(builder, products)
                store_vector(builder, builder.fadd(load_vector(builder, target, n), totals), target)
                return nothing

            in_groups(builder, start, stop, DOT_GROUP, [], add_group)

        for_width(builder, width, emit)
        return context.get_dummy_value()

    return signature, codegen


place_sum: Callable[..., Any] = _place_sum
more_place_dots: Callable[..., Any] = _more_place_dots


@njit(inline="always")
def find_rows(shifts, y, x, height, breadth, step, n_neurons, n_columns, column, own, rows):
    """Overwrite ``rows`` int64[n_shifts * n_neurons] by where the rows begin that taps of a place read.

    Row ``s * n_neurons + i`` is neuron i at the place that lies ``shifts[s]`` further, around the edges. Where only
    every place number ``step`` in either direction exists, rows of the others must not be read.

    Parameters
    ----------
    shifts : int64[n_shifts, 2]
        Down and to the right.
    y, x : int
        Row and column of the place among ``height`` x ``breadth``.
    height, breadth, step : int
    n_neurons, n_columns : int
        Neurons and columns of each place.
    column, own : int
        First column, within its place, and width of the tile.
    rows : int64[n_shifts * n_neurons]
    """
    for s in range(shifts.shape[0]):
        below, beside = (y + shifts[s, 0]) % height, (x + shifts[s, 1]) % breadth
        other = below // step * (breadth // step) + beside // step
        base = (other * n_columns + column) * n_neurons
        own_rows = rows[s * n_neurons : (s + 1) * n_neurons]
        for i in range(n_neurons):
            own_rows[i] = base + i * own
