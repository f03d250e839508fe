"""Backward kernel against the transposed SciPy matrix in float64."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd.activation import BLOCK, WORDS
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.kernels.sparse.backward import (
    backward,
    backward_and_gradient,
    backward_and_gradient_by_tile,
    backward_and_gradient_of_tiles,
)
from hpc_sparse.kernels.sparse.gradient import gradient_update, update, weight_gradients
from hpc_sparse.network.tiles import Tiles

STRIDES = [16, 32, 48, 64, 96, 112, 128, 144, 240]
SHAPES = [(1, 1), (3, 1), (1, 40), (43, 37), (150, 96)]
PARTS = [1, 2, 3, 1000]
"""Of the rows: one, as many as there are threads, an odd number, more than there are rows."""

SEVERAL_TILES = [(stride, width) for stride in STRIDES for width in WIDTHS if stride > width or stride not in WIDTHS]
NO_RECORD = np.empty(0, np.uint16)


def not_a_number(n, stride, width):
    return Tiles.of(np.full((n, stride), np.nan, np.float32), width)


def run_backward(layer, delta, record, slope, scale, width=WIDTHS[-1]):
    t = layer.topology.transposed
    out = not_a_number(layer.topology.shape[1], delta.shape[1], width)
    connections, factors = (t.indptr, t.outs, t.position, layer.weight), np.float32([slope, scale])
    record = record if record is NO_RECORD else packed(record, width)
    backward(*connections, Tiles.of(delta, width).values, record, *factors, t.bounds, width, out.values)
    return out.matrix()


def run_gradient(layer, delta, source, width=WIDTHS[-1]):
    t, out = layer.topology, np.full_like(layer.weight, np.nan)
    signals = (Tiles.of(each, width).values for each in (delta, source))
    weight_gradients(t.indptr, t.indices, *signals, t.bounds, 2, width, out)
    return out


def run_fused(layer, delta, source, record, slope, scale, *, width, n_parts=2, in_place=False, shares=False):
    """Deltas below and gradients.

    The deltas may take the place of the source (``in_place``), and the gradients that of the transposed weights
    (``shares``).
    """
    t = layer.topology.transposed
    delta, source = Tiles.of(delta, width), Tiles.of(source, width)
    out = source if in_place else not_a_number(*source.shape, width)
    transposed = np.full((2, layer.weight.size), np.nan, np.float32)
    gradients = transposed[0] if shares else np.full_like(layer.weight, np.nan)
    connections, factors = (t.indptr, t.outs, t.position, layer.weight), np.float32([slope, scale])
    signals = (delta.values, source.values, packed(record, width), *factors, t.bounds)
    if delta.is_single:
        backward_and_gradient(*connections, *signals, out.values, gradients)
    else:
        backward_and_gradient_of_tiles(*connections, *signals, n_parts, width, out.values, transposed, gradients)
    return out.matrix(), gradients


def random_record(n, stride):
    """Which columns were kept, and whose weighted sum was negative: bool[2, n, stride]."""
    return np.random.default_rng(5).random((2, n, stride)) < 0.6


def packed(record, width):
    """The record that says so, in tiles."""
    bits = [Tiles.of(each, width).values.reshape(-1, BLOCK) for each in record]
    words = [np.packbits(each, axis=-1, bitorder="little").view(np.uint16) for each in bits]
    assert len(words) == WORDS
    return np.stack(words, axis=1).ravel()


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("shape", SHAPES)
def test_deltas_are_those_of_the_transposed_product(make_connections, make_columns, shape, stride):
    layer, delta = make_connections(*shape), make_columns(shape[0], stride)
    is_kept, is_negative = record = random_record(shape[1], stride)
    slope, scale = -0.6, 1.25
    factor = is_kept * np.where(is_negative, slope * scale, scale)
    expected = (layer.matrix.T @ delta.astype(np.float64)) * factor
    size = abs(layer.matrix).T @ np.abs(delta)
    n_terms = np.diff(layer.topology.transposed.indptr)[:, None] + 3
    found = {width: run_backward(layer, delta, record, slope, scale, width) for width in WIDTHS}
    for out in found.values():
        assert (np.abs(out - expected) <= 3e-7 * n_terms * size).all()
        assert out.tobytes() == found[WIDTHS[0]].tobytes()


@pytest.mark.parametrize("stride", STRIDES)
def test_without_a_record_deltas_are_the_transposed_product_alone(make_connections, make_columns, stride):
    layer, delta = make_connections(43, 37), make_columns(43, stride)
    every = np.stack([np.ones((37, stride), bool), np.zeros((37, stride), bool)])
    for width in WIDTHS:
        out = run_backward(layer, delta, NO_RECORD, 0.5, 3.0, width)
        assert out.tobytes() == run_backward(layer, delta, every, 0.5, 1.0, width).tobytes()


def test_columns_without_delta_stay_zero(make_connections, make_columns):
    for n_batch, stride in ((5, 16), (5, 144), (37, 48), (130, 144)):
        layer, delta = make_connections(43, 37), make_columns(43, n_batch, stride)
        record = np.ones((2, 37, stride), bool)
        for width in WIDTHS:
            out = run_backward(layer, delta, record, 0.5, 1.0, width)
            assert np.abs(out[:, :n_batch]).max() > 0
            assert (out[:, n_batch:] == 0).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_number_of_threads_changes_no_bit(make_connections, make_columns, on_every_thread_count, width):
    layer, delta, source = make_connections(150, 96), make_columns(150, 144), make_columns(96, 144, seed=7)
    record = random_record(96, 144)
    alone, together = on_every_thread_count(
        lambda: [
            run_backward(layer, delta, record, 0.5, 2.0, width),
            *run_fused(layer, delta, source, record, 0.5, 2.0, width=width),
            *run_fused(layer, delta[:, :width], source[:, :width], record[:, :, :width], 0.5, 2.0, width=width),
        ]
    )
    for one, other in zip(alone, together, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_fused_pass_gives_the_bits_of_the_two_passes_it_replaces(make_connections, make_columns, shape, width):
    layer = make_connections(*shape)
    delta, source = make_columns(shape[0], width), make_columns(shape[1], width, seed=7)
    record = random_record(shape[1], width)
    for own in (each for each in WIDTHS if each >= width):
        out, gradients = run_fused(layer, delta, source, record, -0.6, 1.25, width=own)
        assert out.tobytes() == run_backward(layer, delta, record, -0.6, 1.25).tobytes()
        assert gradients.tobytes() == run_gradient(layer, delta, source, own).tobytes()


@pytest.mark.parametrize(("stride", "width"), SEVERAL_TILES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_fused_pass_over_tiles_gives_the_bits_of_the_two_passes(
    make_connections, make_columns, shape, stride, width
):
    layer = make_connections(*shape)
    delta, source = make_columns(shape[0], stride), make_columns(shape[1], stride, seed=7)
    record = random_record(shape[1], stride)
    expected = run_backward(layer, delta, record, -0.6, 1.25)
    expected_gradients = run_gradient(layer, delta, source, width)
    for n_parts in PARTS:
        out, gradients = run_fused(layer, delta, source, record, -0.6, 1.25, width=width, n_parts=n_parts)
        assert out.tobytes() == expected.tobytes()
        assert gradients.tobytes() == expected_gradients.tobytes()


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(("stride", "width"), SEVERAL_TILES)
def test_the_fused_pass_by_tile_gives_the_bits_of_each_tile_alone(
    make_connections, make_columns, stride, width, in_place
):
    layer = make_connections(43, 37)
    delta, source, record = make_columns(43, stride), make_columns(37, stride, seed=7), random_record(37, stride)
    expected = run_backward(layer, delta, record, -0.6, 1.25)
    t, signals = layer.topology.transposed, [Tiles.of(each, width) for each in (delta, source)]
    out = signals[1] if in_place else not_a_number(*signals[1].shape, width)
    parts = np.full((out.n_tiles, layer.weight.size), np.nan, np.float32)
    values, factors = (each.values for each in signals), np.float32([-0.6, 1.25])
    connections = (t.indptr, t.outs, t.position, layer.weight)
    gated = (*values, packed(record, width), *factors, t.bounds)
    backward_and_gradient_by_tile(*connections, *gated, width, out.values, parts)
    assert out.matrix().tobytes() == expected.tobytes()
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    assert total.tobytes() == run_gradient(layer, delta, source, width).tobytes()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("stride", STRIDES)
def test_gradients_of_the_fused_pass_are_those_of_float64(make_connections, make_columns, stride, width):
    layer, delta, source = make_connections(43, 37), make_columns(43, stride), make_columns(37, stride, seed=7)
    rows, indices = np.repeat(np.arange(43), layer.topology.fan_in()), layer.topology.indices
    products = delta.astype(np.float64)[rows] * source.astype(np.float64)[indices]
    _, gradients = run_fused(layer, delta, source, random_record(37, stride), 0.5, 1.0, width=width)
    assert (np.abs(gradients - products.sum(axis=1)) <= 2e-7 * stride * np.abs(products).sum(axis=1)).all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("stride", STRIDES)
def test_deltas_may_take_the_place_of_the_activations(make_connections, make_columns, stride, width):
    layer = make_connections(150, 96)
    delta, source, record = make_columns(150, stride), make_columns(96, stride, seed=7), random_record(96, stride)
    expected = run_fused(layer, delta, source, record, -0.6, 1.25, width=width)
    found = run_fused(layer, delta, source, record, -0.6, 1.25, width=width, in_place=True)
    assert [array.tobytes() for array in found] == [array.tobytes() for array in expected]


@pytest.mark.parametrize(("stride", "width"), SEVERAL_TILES)
def test_gradients_may_take_the_place_of_the_transposed_weights(make_connections, make_columns, stride, width):
    layer = make_connections(150, 96)
    delta, source, record = make_columns(150, stride), make_columns(96, stride, seed=7), random_record(96, stride)
    expected = run_fused(layer, delta, source, record, -0.6, 1.25, width=width)
    found = run_fused(layer, delta, source, record, -0.6, 1.25, width=width, shares=True)
    assert [array.tobytes() for array in found] == [array.tobytes() for array in expected]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("is_nesterov", [False, True])
def test_the_update_from_stored_gradients_gives_the_bits_of_the_fused_update(
    make_connections, make_columns, is_nesterov, width
):
    layer = make_connections(43, 37)
    delta, source = make_columns(43, width), make_columns(37, width, seed=7)
    t, settings = layer.topology, (*np.float32([0.1, 0.9, 0.01]), is_nesterov)
    _, gradients = run_fused(layer, delta, source, random_record(37, width), 0.5, 1.0, width=width)
    states = [[layer.weight.copy(), np.ones(43, np.float32), layer.weight * 2, np.ones(43, np.float32)] for _ in "ab"]
    signals = delta.ravel(), source.ravel()
    gradient_update(t.indptr, t.indices, *signals, t.bounds, width, *settings, *states[0])
    update(t.indptr, gradients.reshape(1, -1), signals[0], t.bounds, width, *settings, *states[1])
    for one, other in zip(*states, strict=True):
        assert one.tobytes() == other.tobytes()
