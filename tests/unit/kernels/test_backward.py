"""Backward kernel against the transposed SciPy matrix in float64."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd.activation import BLOCK, WORDS
from hpc_sparse.kernels.sparse.backward import FUSED_STRIDES, backward, backward_and_gradient
from hpc_sparse.kernels.sparse.gradient import gradient_update, update, weight_gradients


def run_backward(layer, delta, record, slope, scale):
    t = layer.topology.transposed
    out = np.full((layer.topology.shape[1], delta.shape[1]), np.nan, np.float32)
    backward(
        t.indptr, t.outs, t.position, layer.weight, delta, record, np.float32(slope), np.float32(scale), t.bounds, out
    )
    return out


def random_record(n, stride):
    """A record, and what it says: which columns were kept, and whose weighted sum was negative."""
    is_kept, is_negative = np.random.default_rng(5).random((2, n, stride)) < 0.6
    words = [np.packbits(bits.reshape(n, -1, BLOCK), axis=-1, bitorder="little") for bits in (is_kept, is_negative)]
    return np.stack(words, axis=2).reshape(n, -1).view(np.uint16), is_kept, is_negative


@pytest.mark.parametrize("stride", [16, 32, 64, 96, 112, 128, 144, 240])
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 40), (43, 37), (150, 96)])
def test_deltas_are_those_of_the_transposed_product(make_connections, make_columns, shape, stride):
    layer, delta = make_connections(*shape), make_columns(shape[0], stride)
    record, is_kept, is_negative = random_record(shape[1], stride)
    slope, scale = -0.6, 1.25
    factor = is_kept * np.where(is_negative, slope * scale, scale)
    expected = (layer.matrix.T @ delta.astype(np.float64)) * factor
    size = abs(layer.matrix).T @ np.abs(delta)
    n_terms = np.diff(layer.topology.transposed.indptr)[:, None] + 3
    out = run_backward(layer, delta, record, slope, scale)
    assert (np.abs(out - expected) <= 3e-7 * n_terms * size).all()


def test_columns_without_delta_stay_zero(make_connections, make_columns):
    layer, delta = make_connections(43, 37), make_columns(43, 5)
    out = run_backward(layer, delta, np.full((37, WORDS), 0xFFFF, np.uint16), 0.5, 1.0)
    assert np.abs(out[:, :5]).max() > 0
    assert (out[:, 5:] == 0).all()


def test_the_number_of_threads_changes_no_bit(make_connections, make_columns, on_every_thread_count):
    layer, delta = make_connections(150, 96), make_columns(150, 144)
    record, *_ = random_record(96, 144)
    alone, together = on_every_thread_count(lambda: run_backward(layer, delta, record, 0.5, 2.0))
    assert alone.tobytes() == together.tobytes()


@pytest.mark.parametrize("stride", FUSED_STRIDES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 40), (43, 37), (150, 96)])
def test_the_fused_pass_gives_the_bits_of_the_two_passes_it_replaces(make_connections, make_columns, shape, stride):
    layer = make_connections(*shape)
    delta, source = make_columns(shape[0], stride), make_columns(shape[1], stride, seed=7)
    record, *_ = random_record(shape[1], stride)
    t = layer.topology
    expected = np.empty_like(layer.weight)
    weight_gradients(t.indptr, t.indices, delta, source, t.bounds, expected)
    out, gradients = run_fused(layer, delta, source, record, -0.6, 1.25)
    assert out.tobytes() == run_backward(layer, delta, record, -0.6, 1.25).tobytes()
    assert gradients.tobytes() == expected.tobytes()


def test_deltas_may_take_the_place_of_the_activations(make_connections, make_columns):
    layer, stride = make_connections(150, 96), FUSED_STRIDES[0]
    delta, source = make_columns(150, stride), make_columns(96, stride, seed=7)
    record, *_ = random_record(96, stride)
    expected = run_fused(layer, delta, source, record, -0.6, 1.25)
    found = run_fused(layer, delta, source, record, -0.6, 1.25, out=source)
    assert [array.tobytes() for array in found] == [array.tobytes() for array in expected]


@pytest.mark.parametrize("is_nesterov", [False, True])
def test_the_update_from_stored_gradients_gives_the_bits_of_the_fused_update(
    make_connections, make_columns, is_nesterov
):
    layer, stride = make_connections(43, 37), FUSED_STRIDES[0]
    delta, source = make_columns(43, stride), make_columns(37, stride, seed=7)
    t, settings = layer.topology, (*np.float32([0.1, 0.9, 0.01]), is_nesterov)
    _, gradients = run_fused(layer, delta, source, random_record(37, stride)[0], 0.5, 1.0)
    states = [[layer.weight.copy(), np.ones(43, np.float32), layer.weight * 2, np.ones(43, np.float32)] for _ in "ab"]
    gradient_update(t.indptr, t.indices, delta, source, t.bounds, *settings, *states[0])
    update(t.indptr, gradients, delta, t.bounds, *settings, *states[1])
    for one, other in zip(*states, strict=True):
        assert one.tobytes() == other.tobytes()


def run_fused(layer, delta, source, record, slope, scale, out=None):
    t = layer.topology.transposed
    out, gradients = np.full_like(source, np.nan) if out is None else out, np.full_like(layer.weight, np.nan)
    factors = np.float32(slope), np.float32(scale)
    backward_and_gradient(
        t.indptr, t.outs, t.position, layer.weight, delta, source, record, *factors, t.bounds, out, gradients
    )
    return out, gradients
