"""bfloat16, the upper half of a float32: an optional storage format that halves the memory of activations.

NumPy has no bfloat16, so arrays hold it as uint16. Vector loads and stores convert it
(:mod:`hpc_sparse.kernels.simd.vector_code`); all sums are computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.vector_code import FLOAT, INT32


@intrinsic
def _as_float(typing_context, value):
    """A float32 as it is, or the one that a bfloat16 in a uint16 stands for."""
    signature = types.float32(value)

    def codegen(context, builder, signature, args):
        (value,) = args
        if value.type == FLOAT:
            return value
        return builder.bitcast(builder.shl(builder.zext(value, INT32), ir.Constant(INT32, 16)), FLOAT)

    return signature, codegen


as_float: Callable[..., Any] = _as_float
