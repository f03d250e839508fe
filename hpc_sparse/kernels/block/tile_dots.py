"""Gradient of a block as explicit vector code: the product of two tiles, summed over their columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.machine import LANES, WIDTHS
from hpc_sparse.kernels.simd.vector_code import (
    INT32,
    INT64,
    float_vector,
    horizontal_sums,
    load_vector,
    multiply_add,
    pointer_or_value,
    store_vector,
)

ROWS = 4
COLUMNS = {16: 4, 8: 2, 4: 2}[LANES]
"""Rows of deltas and of the source whose dots are computed at a time: one register each."""


def _make_dots(*, adds: bool) -> Callable[..., Any]:
    """Build ``dots``: ``out[out_at + a * step + k] = sum over a row: delta row a * source row k``.

    For ``a < ROWS`` if ``n_rows >= ROWS``, else for ``a = 0`` alone; likewise for ``k``. ``delta_at`` and ``source_at``
    are where the rows begin, in tiles of ``width`` columns. If it ``adds``, the dots are added to what is there.
    """

    @intrinsic
    def dots(tc, width, n_rows, n_columns, delta, delta_at, source, source_at, out, out_at, step):
        given = (width, n_rows, n_columns, delta, delta_at, source, source_at, out, out_at, step)
        signature = types.void(*given)

        def codegen(context, builder, signature, args):
            values = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            width, n_rows, n_columns, delta, delta_at, source, source_at, out, out_at, step = values
            rows, others = builder.gep(delta, [delta_at]), builder.gep(source, [source_at])
            target = builder.gep(out, [out_at])
            done = builder.append_basic_block("dots_done")
            are_rows = builder.icmp_signed(">=", n_rows, INT64(ROWS))
            are_columns = builder.icmp_signed(">=", n_columns, INT64(COLUMNS))
            for n, own_rows in ((ROWS, are_rows), (1, builder.not_(are_rows))):
                for m, own_columns in ((COLUMNS, are_columns), (1, builder.not_(are_columns))):
                    with builder.if_then(builder.and_(own_rows, own_columns)):
                        _for_width(builder, width, rows, others, target, step, (n, m), adds=adds)
            builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return signature, codegen

    return dots


def _for_width(
    builder: ir.IRBuilder,
    width: ir.Value,
    rows: ir.Value,
    others: ir.Value,
    target: ir.Value,
    step: ir.Value,
    shape: tuple[int, int],
    *,
    adds: bool,
) -> None:
    done = builder.append_basic_block("width_done")
    blocks = {own: builder.append_basic_block(f"width_{own}") for own in WIDTHS}
    switch = builder.switch(width, blocks[WIDTHS[0]])
    for own, block in blocks.items():
        if own != WIDTHS[0]:
            switch.add_case(INT64(own), block)
        builder.position_at_end(block)
        _store(builder, _dots(builder, own, rows, others, shape), target, step, shape[1], adds=adds)
        builder.branch(done)
    builder.position_at_end(done)


def _dots(builder: ir.IRBuilder, width: int, rows: ir.Value, others: ir.Value, shape: tuple[int, int]) -> list[Any]:
    """The dots of each row, a vector of those with all others."""
    n, m = shape
    totals = [ir.Constant(float_vector(LANES), [0.0] * LANES)] * (n * m)
    for column in range(0, width, LANES):
        left = [load_vector(builder, builder.gep(rows, [INT64(a * width + column)]), LANES) for a in range(n)]
        right = [load_vector(builder, builder.gep(others, [INT64(k * width + column)]), LANES) for k in range(m)]
        pairs = [(own, other) for own in left for other in right]
        totals = [multiply_add(builder, *pair, total) for pair, total in zip(pairs, totals, strict=True)]
    sums = horizontal_sums(builder, totals)
    masks = [ir.Constant(ir.VectorType(INT32, m), list(range(a * m, (a + 1) * m))) for a in range(n)]
    return [builder.shuffle_vector(sums, sums, mask) for mask in masks]


def _store(
    builder: ir.IRBuilder, found: list[Any], target: ir.Value, step: ir.Value, n_columns: int, *, adds: bool
) -> None:
    for number, own in enumerate(found):
        place = builder.gep(target, [builder.mul(step, INT64(number))])
        values = builder.fadd(load_vector(builder, place, n_columns), own) if adds else own
        store_vector(builder, values, place)


first_dots, more_dots = _make_dots(adds=False), _make_dots(adds=True)
"""For the first tile, and for others."""
