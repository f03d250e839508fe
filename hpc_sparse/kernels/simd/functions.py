"""Exponential, logistic function and hyperbolic tangent of vectors of float32.

Compilers call a library for them, number by number. These are polynomials in vector registers. Their relative errors
are some 1e-7; a number gives the same bits in every lane. What is not a number stays so.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba.core import cgutils

from hpc_sparse.kernels.simd.vector_code import INT32, float_vector, multiply_add

EXP_RANGE = (-87.0, 88.0)
"""Arguments of the exponential are cut off there: results are normal numbers."""

LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
"""Their sum is the logarithm of 2; products of the first one with whole numbers are exact."""

ROUNDING = 12582912.0
"""1.5 x 2^23: added to a number, its lowest bits are the number, rounded."""

EXP_TERMS = (0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.008368716575205326, 0.001381459878757596)
"""p in exp(r) = 1 + r + r^2 p(r) for |r| < 0.347; least largest error, 3e-9 before rounding."""

TANH_TERMS = (
    -0.3333328366279602,
    0.13331490755081177,
    -0.05374349653720856,
    0.020650586113333702,
    -0.005717044696211815,
)
"""p in tanh(x) = x + x^3 p(x^2) for |x| < 0.625; least largest error, 4e-9 before rounding."""

TANH_LIMIT = 0.625
"""Below, tanh is a polynomial; above, it is computed from the exponential."""


def exponential(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """``exp(x)``, with ``x`` within :data:`EXP_RANGE`."""
    x = _at_least(builder, _at_most(builder, x, EXP_RANGE[1]), EXP_RANGE[0])
    shifted = multiply_add(builder, x, _numbers(x, LOG2_E), _numbers(x, ROUNDING))
    whole = builder.fsub(shifted, _numbers(x, ROUNDING))
    rest = multiply_add(builder, whole, _numbers(x, -LN2_HIGH), x)
    rest = multiply_add(builder, whole, _numbers(x, -LN2_LOW), rest)
    total = _polynomial(builder, rest, EXP_TERMS)
    total = multiply_add(builder, builder.fmul(rest, rest), total, builder.fadd(rest, _numbers(x, 1.0)))
    words = ir.VectorType(INT32, x.type.count)
    power = builder.shl(builder.bitcast(shifted, words), ir.Constant(words, [23] * x.type.count))
    power = builder.add(power, ir.Constant(words, [127 << 23] * x.type.count))
    return builder.fmul(total, builder.bitcast(power, x.type))


def logistic(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """``1 / (1 + exp(-x))``."""
    one = _numbers(x, 1.0)
    return builder.fdiv(one, builder.fadd(one, exponential(builder, builder.fneg(x))))


def hyperbolic_tangent(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """``tanh(x)``."""
    one, size = _numbers(x, 1.0), _absolute(builder, x)
    square = builder.fmul(x, x)
    small = multiply_add(builder, builder.fmul(square, x), _polynomial(builder, square, TANH_TERMS), x)
    falling = exponential(builder, builder.fmul(size, _numbers(x, -2.0)))
    large = builder.fdiv(builder.fsub(one, falling), builder.fadd(one, falling))
    is_negative = builder.fcmp_ordered("<", x, _numbers(x, 0.0))
    large = builder.select(is_negative, builder.fneg(large), large)
    return builder.select(builder.fcmp_ordered("<", size, _numbers(x, TANH_LIMIT)), small, large)


def _polynomial(builder: ir.IRBuilder, x: ir.Value, terms: Sequence[float]) -> ir.Value:
    total = _numbers(x, terms[-1])
    for term in reversed(terms[:-1]):
        total = multiply_add(builder, total, x, _numbers(x, term))
    return total


def _numbers(like: ir.Value, number: float) -> ir.Constant:
    return ir.Constant(float_vector(like.type.count), [number] * like.type.count)


def _at_most(builder: ir.IRBuilder, x: ir.Value, limit: float) -> ir.Value:
    return builder.select(builder.fcmp_ordered(">", x, _numbers(x, limit)), _numbers(x, limit), x)


def _at_least(builder: ir.IRBuilder, x: ir.Value, limit: float) -> ir.Value:
    return builder.select(builder.fcmp_ordered("<", x, _numbers(x, limit)), _numbers(x, limit), x)


def _absolute(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    kind = ir.FunctionType(x.type, [x.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fabs.v{x.type.count}f32"), [x])
