"""Product of layers with every connection, against the row-by-row pass and NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.kernels.sparse.dense import forward_dense
from hpc_sparse.kernels.sparse.forward import forward
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.tiles import Tiles

ROUNDING = 2e-7
SHAPES = [(1, 1), (1, 40), (2, 37), (5, 3), (10, 100), (11, 96), (23, 7)]
STRIDES = [16, 32, 48, 96, 112, 128, 144, 240]


def make_dense(n_out, n_in):
    rng = np.random.default_rng(n_out)
    topology = Topology.random((n_out, n_in), 1.0, np.uint64(1))
    weight = rng.standard_normal(n_out * n_in).astype(np.float32)
    return topology, weight, rng.standard_normal(n_out).astype(np.float32)


def run_dense(weight, bias, source, slope=1.0, width=WIDTHS[-1]):
    # One row more than the layer has: nothing may be written beyond.
    stride = source.shape[1]
    out = np.full((bias.size + 1) * stride, np.nan, np.float32)
    batch, n = Tiles.of(source, width), bias.size * stride
    forward_dense(weight, bias, batch.values, np.float32(slope), width, out[:n])
    assert np.isnan(out[n:]).all()
    return Tiles(out[:n], bias.size, stride, width).matrix()


def run_rows(topology, weight, bias, source, slope=1.0, width=WIDTHS[-1]):
    t, out = topology, Tiles.of(np.full((bias.size, source.shape[1]), np.nan, np.float32), width)
    batch = Tiles.of(source, width)
    forward(t.indptr, t.indices, weight, bias, batch.values, np.float32(slope), t.bounds, width, out.values)
    return out.matrix()


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("shape", SHAPES)
def test_tiles_give_the_bits_of_the_rows(make_columns, shape, stride):
    t, weight, bias = make_dense(*shape)
    source = make_columns(shape[1], stride)
    expected = run_rows(t, weight, bias, source, -0.6).tobytes()
    for width in WIDTHS:
        assert run_dense(weight, bias, source, -0.6, width).tobytes() == expected
        assert run_rows(t, weight, bias, source, -0.6, width).tobytes() == expected


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("shape", SHAPES)
def test_one_tile_may_be_as_wide_as_the_batch(make_columns, shape, stride):
    _, weight, bias = make_dense(*shape)
    source = make_columns(shape[1], stride)
    out = np.full((shape[0] + 1, stride), np.nan, np.float32)
    forward_dense(weight, bias, source.ravel(), np.float32(-0.6), stride, out[:-1].reshape(-1))
    assert out[:-1].tobytes() == run_dense(weight, bias, source, -0.6).tobytes()
    assert np.isnan(out[-1]).all()


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("shape", SHAPES)
def test_weighted_sums_are_those_of_the_matrix_product(make_columns, shape, stride):
    _, weight, bias = make_dense(*shape)
    matrix, source = weight.astype(np.float64).reshape(shape), make_columns(shape[1], stride)
    size = np.abs(matrix) @ np.abs(source) + np.abs(bias)[:, None]
    for width in WIDTHS:
        error = np.abs(run_dense(weight, bias, source, width=width) - (matrix @ source + bias[:, None]))
        assert (error <= ROUNDING * (shape[1] + 1) * size).all()


@pytest.mark.parametrize("slope", [0.0, 0.6, -0.6])
def test_the_slope_applies_below_zero_only(make_columns, slope):
    _, weight, bias = make_dense(11, 37)
    source = make_columns(37, 96)
    sums = run_dense(weight, bias, source)
    expected = np.where(sums >= 0, sums, np.float32(slope) * sums)
    for width in WIDTHS:
        np.testing.assert_array_equal(run_dense(weight, bias, source, slope, width), expected)


def test_a_layer_that_lacks_one_connection_is_not_taken_for_dense(make_columns):
    t, weight, bias = make_dense(11, 37)
    source, missing = make_columns(37, 48), 5 * 37 + 20
    matrix = weight.astype(np.float64).reshape(11, 37).copy()
    matrix[5, 20] = 0.0
    t, weight = Topology.from_keys((11, 37), np.delete(t.keys(), missing)), np.delete(weight, missing)
    for width in WIDTHS:
        out = run_rows(t, weight, bias, source, width=width)
        np.testing.assert_allclose(out, matrix @ source + bias[:, None], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_number_of_threads_changes_no_bit(make_columns, on_every_thread_count, width):
    _, weight, bias = make_dense(23, 96)
    source = make_columns(96, 144)
    alone, together = on_every_thread_count(lambda: run_dense(weight, bias, source, width=width))
    assert alone.tobytes() == together.tobytes()
