"""Hashes in kernels: equal to their definition in exact integers, and uniform."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from hpc_sparse import rng
from hpc_sparse.kernels import hashing

GOLDEN = 0x9E3779B97F4A7C15


@njit
def counted(key, counter):
    return hashing.counted(key, counter)


@njit
def units(key, n):
    return np.array([hashing.counted_unit(key, np.uint64(counter)) for counter in range(n)])


@njit
def mix32(value):
    return hashing.mix32(value)


@pytest.mark.parametrize("key", [0, 1, 2**63 + 5, 2**64 - 1])
@pytest.mark.parametrize("counter", [0, 1, 2**31, 2**64 - 1])
def test_the_64_bit_hash_is_splitmix_in_exact_integers(key, counter):
    inner = rng._mix(key ^ (counter * GOLDEN & rng.MASK_64))
    assert int(counted(np.uint64(key), np.uint64(counter))) == rng._mix(inner + GOLDEN)


@pytest.mark.parametrize("value", [0, 1, 12345, 2**31, 2**32 - 1])
def test_the_32_bit_hash_is_its_definition_in_exact_integers(value):
    expected = value
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        expected = ((expected ^ (expected >> shift)) * factor) & (2**32 - 1)
    assert int(mix32(np.uint32(value))) == expected ^ (expected >> 16)


def test_units_are_uniform_and_never_zero():
    drawn = units(np.uint64(3), 100_000)
    assert drawn.min() > 0
    assert drawn.max() <= 1
    counts = np.histogram(drawn, 100, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 100 + 4 * np.sqrt(200)
