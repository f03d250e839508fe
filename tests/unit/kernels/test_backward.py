"""Backward kernel against the transposed SciPy matrix in float64."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.backward import backward, backward_and_gradient
from hpc_sparse.kernels.forward import NEGATIVE, POSITIVE
from hpc_sparse.kernels.gradient import gradient, gradient_update, update
from hpc_sparse.kernels.simd import TILE


def run_backward(layer, delta, record, slope, scale):
    t = layer.topology.transposed
    out = np.full((layer.topology.shape[1], delta.shape[1]), np.nan, np.float32)
    backward(
        t.indptr, t.outs, t.position, layer.weight, delta, record, np.float32(slope), np.float32(scale), t.bounds, out
    )
    return out


def random_record(n, stride):
    return np.random.default_rng(5).integers(0, 3, (n, stride)).astype(np.uint8)


@pytest.mark.parametrize("stride", [16, 32, 96, 112, 128, 144, 240])
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 40), (43, 37), (150, 96)])
def test_deltas_are_those_of_the_transposed_product(make_connections, make_columns, shape, stride):
    layer, delta = make_connections(*shape), make_columns(shape[0], stride)
    record = random_record(shape[1], stride)
    slope, scale = -0.6, 1.25
    factor = np.select([record == POSITIVE, record == NEGATIVE], [scale, slope * scale], 0.0)
    expected = (layer.matrix.T @ delta.astype(np.float64)) * factor
    size = abs(layer.matrix).T @ np.abs(delta)
    n_terms = np.diff(layer.topology.transposed.indptr)[:, None] + 3
    out = run_backward(layer, delta, record, slope, scale)
    assert (np.abs(out - expected) <= 3e-7 * n_terms * size).all()


def test_columns_without_delta_stay_zero(make_connections, make_columns):
    layer, delta = make_connections(43, 37), make_columns(43, 5)
    out = run_backward(layer, delta, np.ones((37, 16), np.uint8), 0.5, 1.0)
    assert np.abs(out[:, :5]).max() > 0
    assert (out[:, 5:] == 0).all()


def test_the_number_of_threads_changes_no_bit(make_connections, make_columns, on_every_thread_count):
    layer, delta = make_connections(150, 96), make_columns(150, 144)
    record = random_record(96, 144)
    alone, together = on_every_thread_count(lambda: run_backward(layer, delta, record, 0.5, 2.0))
    assert alone.tobytes() == together.tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 40), (43, 37), (150, 96)])
def test_the_fused_pass_gives_the_bits_of_the_two_passes_it_replaces(make_connections, make_columns, shape):
    layer, delta, source = make_connections(*shape), make_columns(shape[0], TILE), make_columns(shape[1], TILE, seed=7)
    record = random_record(shape[1], TILE)
    t = layer.topology
    expected = np.empty_like(layer.weight)
    gradient(t.indptr, t.indices, delta, source, t.bounds, expected, np.empty(shape[0], np.float32))
    out, dots = run_fused(layer, delta, source, record, -0.6, 1.25)
    assert out.tobytes() == run_backward(layer, delta, record, -0.6, 1.25).tobytes()
    assert dots[t.transposed.place].tobytes() == expected.tobytes()


@pytest.mark.parametrize("is_nesterov", [False, True])
def test_the_update_from_transposed_gradients_gives_the_bits_of_the_fused_update(
    make_connections, make_columns, is_nesterov
):
    layer, delta, source = make_connections(43, 37), make_columns(43, TILE), make_columns(37, TILE, seed=7)
    t, settings = layer.topology, (*np.float32([0.1, 0.9, 0.01]), is_nesterov)
    _, dots = run_fused(layer, delta, source, random_record(37, TILE), 0.5, 1.0)
    states = [[layer.weight.copy(), np.ones(43, np.float32), layer.weight * 2, np.ones(43, np.float32)] for _ in "ab"]
    gradient_update(t.indptr, t.indices, delta, source, t.bounds, *settings, *states[0])
    update(t.indptr, t.transposed.place, dots, delta, t.bounds, *settings, *states[1])
    for one, other in zip(*states, strict=True):
        assert one.tobytes() == other.tobytes()


def run_fused(layer, delta, source, record, slope, scale):
    t = layer.topology.transposed
    out, dots = np.full_like(source, np.nan), np.full(layer.weight.size, np.nan, np.float32)
    factors = np.float32(slope), np.float32(scale)
    backward_and_gradient(
        t.indptr, t.outs, t.position, layer.weight, delta, source, record, *factors, t.bounds, out, dots
    )
    return out, dots
