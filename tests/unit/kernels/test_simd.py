"""The vector loops at every register width, not only at this machine's."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from hpc_sparse.kernels import simd

N_COLUMNS = 48


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("group", [1, 2, 4, 8, 16])
def test_dots_are_those_of_numpy_at_every_width(monkeypatch, make_columns, lanes, group):
    monkeypatch.setattr(simd, "LANES", lanes)
    dots = simd._make_group_dots(group)

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
def test_row_sums_are_those_of_numpy_at_every_width(make_columns, width, position_type):
    row_sum = simd._make_row_sum(width, is_indirect=True)
    stride = 160

    @njit
    def run(source, indices, weight, position, out):
        row_sum(source, stride, 16, indices, weight, position, 2, 9, np.float32(0.5), out, stride + 16)

    rng = np.random.default_rng(1)
    source, weight = make_columns(21, stride), rng.standard_normal(30).astype(np.float32)
    indices, position = rng.permutation(21).astype(np.int32), rng.permutation(30).astype(position_type)
    out = np.full((2, stride), np.nan, np.float32)
    run(source, indices, weight, position, out)
    expected = 0.5 + weight[position[2:9]].astype(np.float64) @ source[indices[2:9], 16 : 16 + width]
    np.testing.assert_allclose(out[1, 16 : 16 + width], expected, rtol=1e-5, atol=1e-5)
    assert np.isnan(out).sum() == out.size - width
