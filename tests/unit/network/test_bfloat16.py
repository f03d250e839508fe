"""bfloat16 outside of kernels: widened exactly, narrowed to the nearest, ties to even."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.network.bfloat16 import CHUNK, as_type, assign, narrowed, scale, widened


def test_every_bfloat16_survives_being_widened_and_narrowed():
    every = np.arange(1 << 16, dtype=np.uint16)
    wide = widened(every)
    is_number = ~np.isnan(wide)
    np.testing.assert_array_equal(narrowed(wide)[is_number], every[is_number])
    assert np.isnan(widened(narrowed(wide)))[~is_number].all()


@pytest.mark.parametrize("n", [0, 1, 33, CHUNK + 5])
def test_narrowing_goes_to_the_nearest(n):
    values = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    found = widened(narrowed(values))
    assert (np.abs(found - values) <= np.abs(values) * 2.0**-8).all()
    low = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    high = ((values.view(np.uint32) & 0xFFFF0000) + 0x10000).astype(np.uint32).view(np.float32)
    np.testing.assert_array_equal(np.abs(found - values), np.minimum(np.abs(low - values), np.abs(high - values)))


def test_ties_go_to_even_and_what_is_too_large_to_infinity():
    largest = np.finfo(np.float32).max
    values = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, largest, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(widened(narrowed(values)), [1, 1 + 2**-6, -1, np.inf, np.inf, np.nan])


def test_float32_stays_as_it_is():
    values, out = np.array([1.1, 2.2], np.float32), np.zeros(2, np.float32)
    assert widened(values) is values
    assert as_type(values, np.float32) is values
    assign(out, values)
    scale(out, np.float32(3))
    np.testing.assert_array_equal(out, values * np.float32(3))


def test_a_part_of_an_array_is_written_and_scaled():
    out = np.zeros(5, np.uint16)
    assign(out[1:4], np.arange(6, dtype=np.float32)[::2])
    scale(out[2:], np.float32(0.5))
    assert widened(out).tolist() == [0, 0, 1, 2, 0]
