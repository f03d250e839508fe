"""Gradients against dense outer products, updates against SGD written out in float64."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.kernels.sparse.gradient import (
    bias_gradients,
    gradient_update,
    update,
    weight_gradients,
    weight_gradients_by_tile,
)
from hpc_sparse.network.tiles import Tiles

SHAPES = [(1, 1), (3, 1), (1, 40), (43, 37), (150, 96)]
N_STEPS = 4
BATCHES = [(1, 16), (5, 16), (32, 32), (37, 48), (5, 48), (96, 96), (101, 112), (120, 128), (144, 144), (233, 240)]
PARTS = [1, 2, 3, 1000]
"""Of the rows: one, as many as there are threads, an odd number, more than there are rows."""


def run_gradient(layer, delta, source, width=WIDTHS[-1], n_parts=2):
    t, delta, source = layer.topology, Tiles.of(delta, width), Tiles.of(source, width)
    weight_gradient = np.full(t.n_connections, np.nan, np.float32)
    bias_gradient = np.full(t.shape[0], np.nan, np.float32)
    weight_gradients(t.indptr, t.indices, delta.values, source.values, t.bounds, n_parts, width, weight_gradient)
    bias_gradients(delta.values, t.bounds, width, bias_gradient)
    return weight_gradient, bias_gradient


def at_connections(topology, dense):
    rows = np.repeat(np.arange(topology.shape[0]), topology.fan_in())
    return dense[rows, topology.indices]


@pytest.mark.parametrize(("n_batch", "stride"), BATCHES)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_the_outer_product_at_the_connections(make_connections, make_columns, shape, n_batch, stride):
    layer = make_connections(*shape)
    delta, source = make_columns(shape[0], n_batch, stride), make_columns(shape[1], n_batch, stride, seed=3)
    source[:, n_batch:] = 7.0  # what the columns beyond the batch hold must not matter
    wide_delta, wide_source = delta.astype(np.float64), source.astype(np.float64)
    expected = at_connections(layer.topology, wide_delta @ wide_source.T)
    size = at_connections(layer.topology, np.abs(wide_delta) @ np.abs(wide_source).T)
    bias_size = np.abs(wide_delta).sum(axis=1)
    for width in WIDTHS:
        weight_gradient, bias_gradient = run_gradient(layer, delta, source, width)
        assert (np.abs(weight_gradient - expected) <= 2e-7 * n_batch * size).all()
        assert (np.abs(bias_gradient - wide_delta.sum(axis=1)) <= 2e-7 * n_batch * bias_size).all()


@pytest.mark.parametrize(("n_batch", "stride"), BATCHES)
@pytest.mark.parametrize("width", WIDTHS)
def test_gradients_of_tiles_are_added_in_ascending_order(make_connections, make_columns, width, n_batch, stride):
    layer = make_connections(43, 37)
    delta, source = make_columns(43, n_batch, stride), make_columns(37, n_batch, stride, seed=3)
    expected = None
    for first, tile in Tiles.of(delta, width):
        own = run_gradient(layer, tile, source[:, first : first + tile.shape[1]])
        expected = own if expected is None else [total + part for total, part in zip(expected, own, strict=True)]
    for n_parts in PARTS:
        for found, total in zip(run_gradient(layer, delta, source, width, n_parts), expected, strict=True):
            assert found.tobytes() == total.tobytes()


@pytest.mark.parametrize(("n_batch", "stride"), BATCHES)
@pytest.mark.parametrize("width", WIDTHS)
def test_gradients_by_tile_are_those_of_each_tile_alone(make_connections, make_columns, width, n_batch, stride):
    layer = make_connections(43, 37)
    delta, source = make_columns(43, n_batch, stride), make_columns(37, n_batch, stride, seed=3)
    expected = [
        run_gradient(layer, tile, source[:, first : first + tile.shape[1]])[0].tobytes()
        for first, tile in Tiles.of(delta, width)
    ]
    t, signals = layer.topology, (Tiles.of(delta, width), Tiles.of(source, width))
    found = np.full((signals[0].n_tiles, t.n_connections), np.nan, np.float32)
    weight_gradients_by_tile(t.indptr, t.indices, *(each.values for each in signals), t.bounds, width, found)
    assert [part.tobytes() for part in found] == expected


@pytest.mark.parametrize("n_parts", [1, 2, 3])
def test_an_update_adds_the_parts_of_gradients_in_their_order(make_connections, make_columns, n_parts):
    layer, delta = make_connections(43, 37), make_columns(43, 16)
    t = layer.topology
    parts = np.random.default_rng(5).standard_normal((n_parts, t.n_connections)).astype(np.float32)
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    states = [[layer.weight.copy(), layer.bias.copy(), layer.weight * 2, layer.bias.copy()] for _ in "ab"]
    for gradients, state in zip((parts, total.reshape(1, -1)), states, strict=True):
        update(t.indptr, gradients, delta.ravel(), t.bounds, 16, *np.float32([0.1, 0.9, 0.01]), False, *state)
    for one, other in zip(*states, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_batch_of_one_tile_has_the_same_gradients_whatever_the_width(make_connections, make_columns, width):
    layer, delta, source = make_connections(150, 96), make_columns(150, width), make_columns(96, width, seed=3)
    expected = run_gradient(layer, delta, source, width)
    for wider in (each for each in WIDTHS if each >= width):
        for found, single in zip(run_gradient(layer, delta, source, wider), expected, strict=True):
            assert found.tobytes() == single.tobytes()


def expected_steps(layer, steps, *, rate, momentum, weight_decay, is_nesterov):
    """The settings' textbook form in float64: weight, bias and both velocities after all steps."""
    t = layer.topology
    weight, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
    weight_velocity, bias_velocity = np.zeros_like(weight), np.zeros_like(bias)
    for delta, source in steps:
        g = at_connections(t, delta.astype(np.float64) @ source.astype(np.float64).T)
        bias_g = delta.sum(axis=1, dtype=np.float64)
        weight_velocity = momentum * weight_velocity - rate * g
        bias_velocity = momentum * bias_velocity - rate * bias_g
        ahead = (momentum * weight_velocity - rate * g, momentum * bias_velocity - rate * bias_g)
        move, bias_move = ahead if is_nesterov else (weight_velocity, bias_velocity)
        weight = weight + move - rate * weight_decay * weight
        bias = bias + bias_move
    return weight, bias, weight_velocity, bias_velocity


def run_steps(layer, steps, *, width, rate, momentum, weight_decay, is_nesterov):
    """Steps of the kernel that suits the batch, and from stored gradients: both, if it is a single tile."""
    t = layer.topology
    factors = np.float32(rate), np.float32(momentum), np.float32(rate * weight_decay), is_nesterov
    results = []
    for is_fused in (True, False):
        state = [layer.weight.copy(), layer.bias.copy(), np.zeros_like(layer.weight), np.zeros_like(layer.bias)]
        for delta, source in steps:
            signals = Tiles.of(delta, width), Tiles.of(source, width)
            values = signals[0].values, signals[1].values
            if is_fused and signals[0].is_single:
                gradient_update(t.indptr, t.indices, *values, t.bounds, width, *factors, *state)
            else:
                gradient, _ = run_gradient(layer, delta, source, width)
                update(t.indptr, gradient.reshape(1, -1), values[0], t.bounds, width, *factors, *state)
        results.append(state)
    assert [array.tobytes() for array in results[0]] == [array.tobytes() for array in results[1]]
    return results[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stride", [32, 48, 144])
@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.0, "weight_decay": 0.0, "is_nesterov": False},
        {"momentum": 0.9, "weight_decay": 0.0, "is_nesterov": False},
        {"momentum": 0.9, "weight_decay": 0.0, "is_nesterov": True},
        {"momentum": 0.9, "weight_decay": 0.3, "is_nesterov": False},
        {"momentum": 0.5, "weight_decay": 0.3, "is_nesterov": True},
    ],
)
def test_updates_are_those_of_sgd_in_float64(make_connections, make_columns, shape, stride, settings):
    layer, n = make_connections(*shape), stride - 11
    steps = [
        (make_columns(shape[0], n, stride, seed=10 + step), make_columns(shape[1], n, stride, seed=20 + step))
        for step in range(N_STEPS)
    ]
    expected = expected_steps(layer, steps, rate=0.05, **settings)
    for width in WIDTHS:
        found = run_steps(layer, steps, width=width, rate=0.05, **settings)
        for array, expected_array in zip(found, expected, strict=True):
            np.testing.assert_allclose(array, expected_array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [16, 32, 48, 128, 144])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_plain_step_is_the_gradient_kernel_times_the_rate(make_connections, make_columns, width, stride):
    layer, n = make_connections(43, 37), stride - 11
    step = make_columns(43, n, stride), make_columns(37, n, stride, seed=3)
    settings = {"momentum": 0.0, "weight_decay": 0.0, "is_nesterov": False}
    _, _, weight_velocity, bias_velocity = run_steps(layer, [step], width=width, rate=1.0, **settings)
    weight_gradient, bias_gradient = run_gradient(layer, *step, width)
    np.testing.assert_array_equal(weight_velocity, -weight_gradient)
    np.testing.assert_allclose(bias_velocity, -bias_gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [16, 128, 240])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_number_of_threads_changes_no_bit(make_connections, make_columns, on_every_thread_count, width, stride):
    layer, n = make_connections(150, 96), stride - 8
    step = make_columns(150, n, stride), make_columns(96, n, stride, seed=3)
    settings = {"momentum": 0.9, "weight_decay": 0.01, "is_nesterov": True}
    alone, together = on_every_thread_count(
        lambda: [
            *run_gradient(layer, *step, width, numba.get_num_threads()),
            *run_steps(layer, [step] * 3, width=width, rate=0.1, **settings),
        ]
    )
    for one, other in zip(alone, together, strict=True):
        assert one.tobytes() == other.tobytes()
