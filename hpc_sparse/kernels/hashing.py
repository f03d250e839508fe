"""Counter-based random numbers inside kernels: a hash of (key, counter), no state.

The 64-bit hash is SplitMix64's finaliser (Steele, Lea, Flood 2014), as in :mod:`hpc_sparse.rng`;
the 32-bit one is a multiply-xorshift hash with the constants found by C. Wellons ("lowbias32").
"""

from __future__ import annotations

import numpy as np
from numba import njit

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
MIX32_FACTORS, MIX32_SHIFTS = (0x7FEB352D, 0x846CA68B), (16, 15, 16)
"""Constants of :func:`mix32`, for those who write it as vector code."""

_N1, _N2 = (np.uint32(factor) for factor in MIX32_FACTORS)
_S15, _S16 = np.uint32(15), np.uint32(16)
_ONE = np.uint64(1)
_TO_UNIT = 1.0 / (1 << 53)


@njit(inline="always")
def mix64(value):
    """Scramble a uint64: every bit of the input reaches every bit of the result."""
    value = (value ^ (value >> _S30)) * _M1
    value = (value ^ (value >> _S27)) * _M2
    return value ^ (value >> _S31)


@njit(inline="always")
def counted(key, counter):
    """Number ``counter`` (uint64) of the stream ``key`` (uint64), as a uint64."""
    return mix64(mix64(key ^ counter * GOLDEN) + GOLDEN)


@njit(inline="always")
def counted_unit(key, counter):
    """Number ``counter`` of the stream ``key`` as a float64 in (0, 1]."""
    return ((counted(key, counter) >> _S11) + _ONE) * _TO_UNIT


@njit(inline="always")
def mix32(value):
    """Scramble a uint32; cheap enough for one per activation."""
    value = np.uint32(np.uint32(value ^ (value >> _S16)) * _N1)
    value = np.uint32(np.uint32(value ^ (value >> _S15)) * _N2)
    return np.uint32(value ^ (value >> _S16))
