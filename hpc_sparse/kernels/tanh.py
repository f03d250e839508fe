"""Hyperbolic tangent of a layer's weighted sums, with the derivative that its backward pass needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.activation import BLOCK
from hpc_sparse.kernels.simd.functions import hyperbolic_tangent
from hpc_sparse.kernels.simd.vector_code import float_vector, load_vector, pointer_or_value, splat, store_vector


@intrinsic
def _bend(typing_context, sums, unscale, scale, slopes, place, has_slopes):
    """``y = tanh(unscale * sums)`` of BLOCK numbers at ``place``: ``sums = scale * y``, ``slopes = 1 - y^2``."""
    signature = types.void(sums, unscale, scale, slopes, place, has_slopes)

    def codegen(context, builder, signature, args):
        pairs = zip(signature.args, args, strict=True)
        sums, unscale, scale, slopes, place, has_slopes = (pointer_or_value(context, builder, *pair) for pair in pairs)
        where = builder.gep(sums, [place])
        total = builder.fmul(load_vector(builder, where, BLOCK), splat(builder, unscale, BLOCK))
        bent = hyperbolic_tangent(builder, total)
        store_vector(builder, builder.fmul(bent, splat(builder, scale, BLOCK)), where)
        with builder.if_then(has_slopes):
            one = ir.Constant(float_vector(BLOCK), [1.0] * BLOCK)
            slope = builder.fsub(one, builder.fmul(bent, bent))
            store_vector(builder, slope, builder.gep(slopes, [place]))
        return context.get_dummy_value()

    return signature, codegen


bend: Callable[..., Any] = _bend


@njit(parallel=True, cache=True, nogil=True)
def tanh_of_sums(sums, unscale, scale, slopes):
    """Replace weighted sums by scaled hyperbolic tangents.

    Parameters
    ----------
    sums : float32[n], n a multiple of 16
        s becomes scale * tanh(unscale * s); what dropout has set to 0 stays 0.
    unscale, scale : float32
        1 / scale, and the scale of dropout.
    slopes : float32[n], or empty
        Overwritten with 1 - tanh^2.
    """
    has_slopes = slopes.size > 0
    for block in prange(sums.size // BLOCK):
        bend(sums, unscale, scale, slopes, block * BLOCK, has_slopes)


@njit(parallel=True, cache=True, nogil=True)
def multiply_slopes(deltas, slopes):
    """``deltas *= slopes``, float32[n] each."""
    for i in prange(deltas.size):
        deltas[i] *= slopes[i]
