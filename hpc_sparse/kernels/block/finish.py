"""Sums of a strip on their way out of it: activation, dropout and derivatives, one row at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.activation import BLOCK, WORDS, activated, activated_and_dropped, differentiated
from hpc_sparse.kernels.simd.vector_code import INT64, load_vector, loop, pointer_or_value, store_vector


def _for_columns(builder: ir.IRBuilder, columns: ir.Value, emit: Callable[[ir.Value], None]) -> None:
    """Run what ``emit`` emits for each group of BLOCK columns, with the number of its first one."""

    def body(column: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
        emit(column)
        return state

    loop(builder, INT64(0), columns, BLOCK, [], body)


@intrinsic
def _finish(tc, sums, sums_at, columns, slope, out, out_at):
    """``out[out_at:][:columns] = f(sums[sums_at:][:columns])``.

    For ``f``, see :func:`hpc_sparse.kernels.simd.activation.activated`.
    """
    signature = types.void(sums, sums_at, columns, slope, out, out_at)

    def codegen(context, builder, signature, args):
        values = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        sums, sums_at, columns, slope, out, out_at = values

        def emit(column: ir.Value) -> None:
            total = load_vector(builder, builder.gep(sums, [builder.add(sums_at, column)]), BLOCK)
            store_vector(builder, activated(builder, total, slope), builder.gep(out, [builder.add(out_at, column)]))

        _for_columns(builder, columns, emit)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _finish_dropped(
    tc, sums, sums_at, columns, out, out_at, first_column, slope, scale, drop_below, row_key, record, place
):
    """As ``finish``, then dropout; see :func:`hpc_sparse.kernels.simd.activation.activated_and_dropped`."""
    given = (sums, sums_at, columns, out, out_at, first_column, slope, scale, drop_below, row_key, record, place)
    signature = types.void(*given)

    def codegen(context, builder, signature, args):
        values = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        sums, sums_at, columns, out, out_at, first_column, slope, scale, drop_below, row_key, record, place = values

        def emit(column: ir.Value) -> None:
            total = load_vector(builder, builder.gep(sums, [builder.add(sums_at, column)]), BLOCK)
            words = builder.add(place, builder.mul(builder.sdiv(column, INT64(BLOCK)), INT64(WORDS)))
            at = builder.add(first_column, column)
            active = activated_and_dropped(builder, total, slope, scale, drop_below, row_key, at, record, words)
            store_vector(builder, active, builder.gep(out, [builder.add(out_at, column)]))

        _for_columns(builder, columns, emit)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _finish_gated(tc, sums, sums_at, columns, out, out_at, slope, scale, record, place):
    """``out[out_at:][:columns]``: sums times the derivative that the record tells from ``place`` on."""
    signature = types.void(sums, sums_at, columns, out, out_at, slope, scale, record, place)

    def codegen(context, builder, signature, args):
        values = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        sums, sums_at, columns, out, out_at, slope, scale, record, place = values

        def emit(column: ir.Value) -> None:
            total = load_vector(builder, builder.gep(sums, [builder.add(sums_at, column)]), BLOCK)
            words = builder.add(place, builder.mul(builder.sdiv(column, INT64(BLOCK)), INT64(WORDS)))
            (gated,) = differentiated(builder, [total], slope, scale, record, words)
            store_vector(builder, gated, builder.gep(out, [builder.add(out_at, column)]))

        _for_columns(builder, columns, emit)
        return context.get_dummy_value()

    return signature, codegen


finish: Callable[..., Any] = _finish
finish_dropped: Callable[..., Any] = _finish_dropped
finish_gated: Callable[..., Any] = _finish_gated
