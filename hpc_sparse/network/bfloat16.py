"""bfloat16 outside of kernels: arrays of uint16, which are widened to compute with them."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import BFLOAT16, AnyArray, Float32Array, UInt16Array

CHUNK = 1 << 16
"""Numbers at a time: what is computed on the way stays in the cache."""

NOT_A_NUMBER = 0x7FC0


def widened(values: AnyArray) -> Float32Array:
    """float32[n] of a bfloat16 array; any other array as it is."""
    if values.dtype != BFLOAT16:
        return values
    return np.left_shift(values, 16, dtype=np.uint32).view(np.float32)


def narrowed(values: Float32Array) -> UInt16Array:
    """bfloat16[n], rounded to nearest, ties to even: the same bits on every rank."""
    out = np.empty(values.size, BFLOAT16)
    assign(out, values)
    return out


def assign(out: AnyArray, values: Float32Array) -> None:
    """``out[:] = values`` for an array of float32 or bfloat16."""
    if out.dtype != BFLOAT16:
        out[:] = values
        return
    for start in range(0, out.size, CHUNK):
        part = np.ascontiguousarray(values[start : start + CHUNK])
        words = part.view(np.uint32)
        rounded = (words + np.uint32(0x7FFF) + (words >> 16 & 1)) >> 16
        out[start : start + CHUNK] = np.where(np.isnan(part), NOT_A_NUMBER, rounded)


def scale(values: AnyArray, factor: np.float32) -> None:
    """Multiply an array of float32 or bfloat16 by a factor, in place."""
    if values.dtype != BFLOAT16:
        np.multiply(values, factor, out=values)
        return
    for start in range(0, values.size, CHUNK):
        part = values[start : start + CHUNK]
        assign(part, widened(part) * factor)


def as_type(values: AnyArray, dtype: type[np.generic]) -> AnyArray:
    """An array of float32 or bfloat16 as the other; itself if it is of that type."""
    if values.dtype == dtype:
        return values
    return narrowed(values) if dtype == BFLOAT16 else widened(values)
