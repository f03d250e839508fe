"""Velocities as kernels read and write them: float32, or bfloat16 that is rounded up or down at random.

A velocity changes by less than a bfloat16 can tell in most steps, so rounding to nearest would lose these changes.
Stochastic rounding goes up with the probability of the share that is cut off: the mean over many steps is exact (Gupta
et al. 2015, arXiv 1502.02551). A random number is a hash of a key, one for each step, and the position of the
connection, so it depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from hpc_sparse.dtypes import BFLOAT16, AnyArray, Float32Array, UInt16Array
from hpc_sparse.kernels.hashing import MIX32_FACTORS, MIX32_SHIFTS
from hpc_sparse.kernels.simd.activation import COLUMN_STEP
from hpc_sparse.kernels.simd.bfloat16 import as_float
from hpc_sparse.kernels.simd.vector_code import FLOAT, INT32, pointer_or_value

NOT_A_NUMBER = 0x7FC0
"""As a bfloat16."""

HALF_WORD = ir.IntType(16)
KEY_SHIFT = np.uint64(32)


class RoundedVelocity(NamedTuple):
    """Velocities in bfloat16, with what decides how they are rounded.

    Attributes
    ----------
    values : uint16[n]
    key : uint32
        Of the step and the parameter.
    first : int
        Position of the first one among those that share the key.
    """

    values: UInt16Array
    key: np.uint32
    first: int = 0


Velocity: TypeAlias = Float32Array | RoundedVelocity


def as_velocity(values: AnyArray, key: np.uint64) -> Velocity:
    """Velocities as kernels take them: float32 as they are, bfloat16 rounded by the random numbers of ``key``."""
    return RoundedVelocity(values, np.uint32(key >> KEY_SHIFT)) if values.dtype == BFLOAT16 else values


@intrinsic
def _keep_rounded(typing_context, values, i, value, key, position):
    """``values[i]``: the bfloat16 above or below a float32; not-a-number and infinities stay what they are.

    It stores through the pointer. numba removes an assignment to an array in a tuple from a parallel loop, as it does
    not see that the array is an argument's.
    """
    signature = types.void(values, types.int64, types.float32, types.uint32, types.int64)

    def codegen(context, builder, signature, args):
        pairs = zip(signature.args, args, strict=True)
        values, i, value, key, position = (pointer_or_value(context, builder, *pair) for pair in pairs)
        number = builder.add(key, builder.mul(builder.trunc(position, INT32), INT32(COLUMN_STEP)))
        for shift, factor in zip(MIX32_SHIFTS, (*MIX32_FACTORS, None), strict=True):
            number = builder.xor(number, builder.lshr(number, INT32(shift)))
            if factor is not None:
                number = builder.mul(number, INT32(factor))
        word = builder.add(builder.bitcast(value, INT32), builder.lshr(number, INT32(16)))
        rounded = builder.trunc(builder.lshr(word, INT32(16)), HALF_WORD)
        is_none = builder.fcmp_unordered("uno", value, ir.Constant(FLOAT, 0.0))
        rounded = builder.select(is_none, HALF_WORD(NOT_A_NUMBER), rounded)
        builder.store(rounded, builder.gep(values, [i]), align=2)
        return context.get_dummy_value()

    return signature, codegen


keep_rounded: Callable[..., Any] = _keep_rounded


def velocity_at(velocities, i):
    """Velocity ``i`` as a float32."""
    raise NotImplementedError("in kernels only")


def keep_velocity(velocities, i, velocity):
    """Write velocity ``i``, a float32."""
    raise NotImplementedError("in kernels only")


def part_of(velocities, start, stop):
    """Velocities ``start:stop``."""
    raise NotImplementedError("in kernels only")


@overload(velocity_at, inline="always")
def _velocity_at(velocities, i):
    if isinstance(velocities, types.Array):
        return lambda velocities, i: velocities[i]
    return lambda velocities, i: as_float(velocities.values[i])


@overload(keep_velocity, inline="always")
def _keep_velocity(velocities, i, velocity):
    if isinstance(velocities, types.Array):

        def keep(velocities, i, velocity):
            velocities[i] = velocity

    else:

        def keep(velocities, i, velocity):
            keep_rounded(velocities.values, i, velocity, velocities.key, velocities.first + i)

    return keep


@overload(part_of, inline="always")
def _part_of(velocities, start, stop):
    if isinstance(velocities, types.Array):
        return lambda velocities, start, stop: velocities[start:stop]

    def part(velocities, start, stop):
        return RoundedVelocity(velocities.values[start:stop], velocities.key, velocities.first + start)

    return part
