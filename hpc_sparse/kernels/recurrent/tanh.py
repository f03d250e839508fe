"""The plain recurrent cell: ``h' = tanh(W x + U h + b)`` (Elman 1990)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.activation import BLOCK
from hpc_sparse.kernels.simd.functions import hyperbolic_tangent
from hpc_sparse.kernels.simd.vector_code import float_vector, load_vector, pointer_or_value, store_vector


@intrinsic
def _advance(typing_context, sums, products, after, place):
    """``after = tanh(sums + products)`` of BLOCK numbers at ``place``."""
    signature = types.void(sums, products, after, place)

    def codegen(context, builder, signature, args):
        pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        sums, products, after = (builder.gep(each, [pointer[3]]) for each in pointer[:3])
        total = builder.fadd(load_vector(builder, sums, BLOCK), load_vector(builder, products, BLOCK))
        store_vector(builder, hyperbolic_tangent(builder, total), after)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _retreat(typing_context, through, after, deltas, place):
    """``deltas = through (1 - after^2)`` of BLOCK numbers at ``place``."""
    signature = types.void(through, after, deltas, place)

    def codegen(context, builder, signature, args):
        pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        through, after, deltas = (builder.gep(each, [pointer[3]]) for each in pointer[:3])
        state = load_vector(builder, after, BLOCK)
        slope = builder.fsub(ir.Constant(float_vector(BLOCK), [1.0] * BLOCK), builder.fmul(state, state))
        store_vector(builder, builder.fmul(load_vector(builder, through, BLOCK), slope), deltas)
        return context.get_dummy_value()

    return signature, codegen


advance: Callable[..., Any] = _advance
retreat: Callable[..., Any] = _retreat


@njit(parallel=True, cache=True, nogil=True)
def tanh_forward(sums, products, after):
    """One step: ``after = tanh(sums + products)``, float32[n * n_columns] in tiles each."""
    for block in prange(after.size // BLOCK):
        advance(sums, products, after, block * BLOCK)


@njit(parallel=True, cache=True, nogil=True)
def tanh_backward(after, above, through, deltas):
    """The derivative of :func:`tanh_forward` by both kinds of sums, which is the same.

    Parameters
    ----------
    after : float32[n * n_columns] in tiles
        The state after the step.
    above : float32[n * n_columns] in tiles, or empty
        A part of the derivative by it: what comes from the layer above.
    through : float32[n * n_columns] in tiles
        The other part: what comes from the next step; changed.
    deltas : float32[n * n_columns] in tiles
        Overwritten.
    """
    for block in prange(after.size // BLOCK):
        place = block * BLOCK
        if above.size:
            for i in range(place, place + BLOCK):
                through[i] += above[i]
        retreat(through, after, deltas, place)
