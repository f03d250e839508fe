"""The vector loops at every register width, not only at this machine's."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from hpc_sparse.kernels.hashing import MIX32_FACTORS, MIX32_SHIFTS
from hpc_sparse.kernels.simd import row_loops, tiles
from hpc_sparse.kernels.simd.activation import BLOCK, COLUMN_STEP, WORDS, record_words

N_COLUMNS = 48


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("group", [1, 2, 4, 8, 16])
def test_dots_are_those_of_numpy_at_every_width(monkeypatch, make_columns, lanes, group):
    monkeypatch.setattr(row_loops, "LANES", lanes)
    dots = row_loops._make_group_dots(group)

    @njit
    def run(delta, offset, source, indices, k, out):
        dots(delta, offset, N_COLUMNS, source, indices, k, out, k)

    delta, source = make_columns(3, N_COLUMNS), make_columns(21, N_COLUMNS, seed=3)
    indices = np.random.default_rng(1).permutation(21).astype(np.int32)
    out = np.full(21, np.nan, np.float32)
    run(delta, 2 * N_COLUMNS, source, indices, 3, out)
    expected = source.astype(np.float64)[indices[3 : 3 + group]] @ delta[2].astype(np.float64)
    np.testing.assert_allclose(out[3 : 3 + group], expected, rtol=1e-5, atol=1e-5)
    assert np.isnan(np.delete(out, range(3, 3 + group))).all()


@pytest.mark.parametrize("width", [16, 32, 64, 128])
@pytest.mark.parametrize("position_type", [np.int32, np.int64])
@pytest.mark.parametrize("is_indirect", [False, True])
def test_row_sums_are_those_of_numpy_at_every_width(make_columns, width, position_type, is_indirect):
    stride, start, slope = 160, np.float32(0.5), np.float32(-0.25)
    direct, indirect = row_loops._make_row_sum(width), row_loops._make_indirect_row_sum(width)

    @njit
    def run(source, indices, weight, position, out):
        if is_indirect:
            indirect(source, stride, 16, indices, weight, position, 2, 9, out, stride + 16)
        else:
            direct(source, stride, 16, indices, weight, 2, 9, start, slope, out, stride + 16)

    rng = np.random.default_rng(1)
    source, weight = make_columns(21, stride), rng.standard_normal(30).astype(np.float32)
    indices, position = rng.permutation(21).astype(np.int32), rng.permutation(30).astype(position_type)
    out = np.full((2, stride), np.nan, np.float32)
    run(source, indices, weight, position, out)
    used = weight[position[2:9]] if is_indirect else weight[2:9]
    expected = used.astype(np.float64) @ source[indices[2:9], 16 : 16 + width]
    if not is_indirect:
        expected = np.where(expected >= -start, 1, slope) * (start + expected)
    np.testing.assert_allclose(out[1, 16 : 16 + width], expected, rtol=1e-5, atol=1e-5)
    assert np.isnan(out).sum() == out.size - width


@pytest.mark.parametrize("width", [16, 32, 64, 128])
@pytest.mark.parametrize("n_connections", [0, 1, 4, 7])
def test_sums_activated_in_registers_are_to_the_bit_those_activated_afterwards(make_columns, width, n_connections):
    row_sum, activated = row_loops._make_row_sum(width), row_loops._make_row_sum_activated(width)
    stride, column, stop, drop_below, row_key = 160, 16, 2 + n_connections, np.uint32(1 << 30), np.uint32(12345)
    slope, scale = np.float32(-0.5), np.float32(1.25)

    @njit
    def run(source, indices, weight, sums, out, record):
        row_sum(source, stride, column, indices, weight, 2, stop, np.float32(0.5), np.float32(1), sums, column)
        first, place = stride, record.shape[1]
        connections = indices, weight, 2, stop, np.float32(0.5)
        dropout = slope, scale, drop_below, row_key
        activated(source, stride, column, *connections, out, first, *dropout, record, place)

    rng = np.random.default_rng(1)
    source, weight = make_columns(21, stride), rng.standard_normal(30).astype(np.float32)
    sums, out = np.full((1, stride), np.nan, np.float32), np.full((2, stride), np.nan, np.float32)
    record = np.full((2, record_words(stride)), 0xA5C3, np.uint16)
    run(source, rng.permutation(21).astype(np.int32), weight, sums, out, record)
    found = sums[0, column : column + width]
    is_kept = column_numbers(row_key, np.arange(column, column + width)) >= drop_below
    assert 0 < is_kept.sum() < width
    expected = np.where(found < 0, slope * found, found) * scale
    np.testing.assert_array_equal(out[1, column : column + width], np.where(is_kept, expected, np.float32(0)))
    assert np.isnan(out).sum() == out.size - width
    words = record[1].reshape(-1, WORDS)
    own = slice(column // BLOCK, (column + width) // BLOCK)
    bits = (words[own, :, None] >> np.arange(BLOCK) & 1).astype(bool)
    np.testing.assert_array_equal(bits[:, 0].ravel(), is_kept)
    np.testing.assert_array_equal(bits[:, 1].ravel(), found < 0)
    assert (np.delete(words, own, axis=0) == 0xA5C3).all()
    assert (record[0] == 0xA5C3).all()


def column_numbers(row_key, columns):
    """The random 32-bit numbers of some columns of a row, uint32[n]."""
    number = np.uint32(row_key) + columns.astype(np.uint32) * np.uint32(COLUMN_STEP)
    for shift, factor in zip(MIX32_SHIFTS, (*MIX32_FACTORS, 1), strict=True):
        number = (number ^ (number >> np.uint32(shift))) * np.uint32(factor)
    return number


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_dense_tiles_are_those_of_numpy_at_every_width(make_columns, lanes):
    width, n_in, n_out, stride = 2 * lanes, 9, 7, 48
    tile, slope = tiles._make_dense_tile(width), np.float32(-0.25)

    @njit
    def run(weight, bias, source, first, out):
        tile(weight, bias, source, n_in, stride, 16, first, n_out, slope, out)

    rng = np.random.default_rng(1)
    weight, bias = (rng.standard_normal(n).astype(np.float32) for n in (n_out * n_in, n_out))
    source, out = make_columns(n_in, stride), np.full((n_out, stride), np.nan, np.float32)
    first = n_out - 2
    run(weight, bias, source, first, out)
    product = weight.reshape(n_out, n_in).astype(np.float64) @ source[:, 16 : 16 + width] + bias[:, None]
    product = np.where(product >= 0, product, slope * product)
    np.testing.assert_allclose(out[first:, 16 : 16 + width], product[first:], rtol=1e-5, atol=1e-5)
    assert np.isnan(out).sum() == out.size - 2 * width


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("n_connections", [0, 1, 2, 3, 4, 7])
def test_the_fused_pass_handles_every_remainder_at_every_width(monkeypatch, make_columns, lanes, n_connections):
    monkeypatch.setattr(row_loops, "LANES", lanes)
    fused, stop = row_loops._make_row_sum_and_dots(8 * lanes), 3 + n_connections

    @njit
    def run(delta, outs, position, weight, source, record, out, dots):
        derivative = record, record.size // 2, np.float32(-0.5), np.float32(2)
        fused(delta, outs, position, weight, 3, stop, source, 8 * lanes, *derivative, out, dots)

    rng = np.random.default_rng(1)
    delta, source = make_columns(21, 8 * lanes), make_columns(2, 8 * lanes, seed=3)
    outs, position = rng.permutation(21).astype(np.int32), rng.permutation(21).astype(np.int32)
    weight = rng.standard_normal(21).astype(np.float32)
    out, dots = np.full((2, 8 * lanes), np.nan, np.float32), np.full(21, np.nan, np.float32)
    words = rng.integers(0, 1 << 16, (2, record_words(8 * lanes) // WORDS, WORDS)).astype(np.uint16)
    run(delta, outs, position, weight, source, words.ravel(), out, dots)
    rows = delta.astype(np.float64)[outs[3:stop]]
    is_kept, is_negative = ((words[1, :, word, None] >> np.arange(BLOCK) & 1).ravel() for word in range(WORDS))
    derivative = np.where(is_kept, np.where(is_negative, -1.0, 2.0), 0.0)
    sums = weight[position[3:stop]].astype(np.float64) @ rows
    np.testing.assert_allclose(out[1], sums * derivative, rtol=1e-5, atol=1e-5)
    assert np.isnan(out[0]).all()
    found = dots[position[3:stop]]
    np.testing.assert_allclose(found, rows @ source[1].astype(np.float64), rtol=1e-5, atol=1e-5)
    assert np.isnan(dots).sum() == 21 - n_connections
