"""Blocks of dense matrices as explicit vector code: products, and batches transposed on the way from their data set.

Functions over array pointers that do no bounds checks: callers own the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.activation import activated
from hpc_sparse.kernels.simd.machine import LANES, PADDING
from hpc_sparse.kernels.simd.vector_code import (
    INT64,
    load_as_float,
    load_index,
    load_vector,
    loop,
    multiply_add,
    pointer_or_value,
    splat,
    store_vector,
    transposed,
)

DENSE_ROWS, DENSE_COLUMNS = 5, 2 * LANES
"""The tile of a dense layer's output: ten sums in registers, for seven loads a turn; measured."""


def _make_dense_tile(width: int) -> Callable[..., Any]:
    """Build ``dense_tile``: ``width`` columns of DENSE_ROWS rows of ``out = f(weight source + bias)``.

    For ``first <= row < first + DENSE_ROWS``, ``out[row, column:][:width] = f(bias[row] + sum_k weight[row, k] *
    source[k, column:][:width])`` over ``k < n_in``, in order; ``f`` is that of
    :func:`hpc_sparse.kernels.simd.activation.activated`. Where ``out`` ends before, its last row is computed
    again. Rows of ``source`` and ``out`` lie ``stride`` numbers apart, the first ones at ``source_base`` and
    ``out_base``. A row of the source is read once for all the sums.
    """

    @intrinsic
    def dense_tile(tc, weight, bias, source, source_base, n_in, stride, column, first, n_out, slope, out, out_base):
        signature = types.void(
            weight, bias, source, source_base, n_in, stride, column, first, n_out, slope, out, out_base
        )

        def codegen(context, builder, signature, args):
            pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            weight, bias, source, source_base, n_in, stride, column, first, n_out, slope, out, out_base = pointer
            final = builder.sub(n_out, INT64(1))
            numbers = [builder.add(first, INT64(r)) for r in range(DENSE_ROWS)]
            rows = [builder.select(builder.icmp_signed("<", row, final), row, final) for row in numbers]
            weights = [builder.gep(weight, [builder.mul(row, n_in)]) for row in rows]
            base = builder.gep(source, [builder.add(source_base, column)])
            out = builder.gep(out, [out_base])

            def add_input(k: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                values = load_vector(builder, builder.gep(base, [builder.mul(k, stride)]), width)
                scales = [splat(builder, builder.load(builder.gep(own, [k])), width) for own in weights]
                return [multiply_add(builder, scale, values, total) for scale, total in zip(scales, sums, strict=True)]

            biases = [splat(builder, builder.load(builder.gep(bias, [row])), width) for row in rows]
            sums = loop(builder, INT64(0), n_in, 1, biases, add_input)
            for row, total in zip(rows, sums, strict=True):
                target = builder.gep(out, [builder.add(builder.mul(row, stride), column)])
                store_vector(builder, activated(builder, total, slope), target)
            return context.get_dummy_value()

        return signature, codegen

    return dense_tile


@intrinsic
def _standardized_tile(typing_context, features, n_features, chosen, first, j, shift, scale, out, out_offset, stride):
    """For LANES samples x LANES features, ``out[out_offset + f * stride + s] = (x_sf - shift[j + f]) * scale[j + f]``.

    ``x_sf`` is ``features[chosen[first + s], j + f]``, uint8 or float32. Transposed in registers.
    """
    signature = types.void(features, n_features, chosen, first, j, shift, scale, out, out_offset, stride)

    def codegen(context, builder, signature, args):
        pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        features, n_features, chosen, first, j, shift, scale, out, out_offset, stride = pointer
        offset = load_vector(builder, builder.gep(shift, [j]), LANES)
        factor = load_vector(builder, builder.gep(scale, [j]), LANES)
        rows = []
        for sample in range(LANES):
            number = load_index(builder, chosen, builder.add(first, INT64(sample)))
            start = builder.gep(features, [builder.add(builder.mul(number, n_features), j)])
            values = load_as_float(builder, start, LANES)
            rows.append(builder.fmul(builder.fsub(values, offset), factor))
        for feature, column in enumerate(transposed(builder, rows)):
            target = builder.add(out_offset, builder.mul(stride, INT64(feature)))
            store_vector(builder, column, builder.gep(out, [target]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _turned_tile(typing_context, tiles, base, stride, out, out_offset, out_stride):
    """For LANES columns c and LANES neurons j, ``out[out_offset + c * out_stride + j] = tiles[base + j * stride + c]``.

    Transposed in registers.
    """
    signature = types.void(tiles, base, stride, out, out_offset, out_stride)

    def codegen(context, builder, signature, args):
        pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        tiles, base, stride, out, out_offset, out_stride = pointer
        starts = [builder.add(base, builder.mul(stride, INT64(neuron))) for neuron in range(LANES)]
        rows = [load_vector(builder, builder.gep(tiles, [start]), LANES) for start in starts]
        for column, values in enumerate(transposed(builder, rows)):
            target = builder.add(out_offset, builder.mul(out_stride, INT64(column)))
            store_vector(builder, values, builder.gep(out, [target]))
        return context.get_dummy_value()

    return signature, codegen


dense_tile = _make_dense_tile(DENSE_COLUMNS)
dense_tile_padding = _make_dense_tile(PADDING)
standardized_tile: Callable[..., Any] = _standardized_tile
turned_tile: Callable[..., Any] = _turned_tile
