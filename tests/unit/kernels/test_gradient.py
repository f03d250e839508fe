"""Gradients against dense outer products, updates against SGD written out in float64."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.sparse.gradient import bias_gradients, gradient_update, weight_gradients

SHAPES = [(1, 1), (3, 1), (1, 40), (43, 37), (150, 96)]
N_STEPS = 4


def run_gradient(layer, delta, source):
    t = layer.topology
    weight_gradient = np.full(t.n_connections, np.nan, np.float32)
    bias_gradient = np.full(t.shape[0], np.nan, np.float32)
    weight_gradients(t.indptr, t.indices, delta, source, t.bounds, weight_gradient)
    bias_gradients(delta, t.bounds, bias_gradient)
    return weight_gradient, bias_gradient


def at_connections(topology, dense):
    rows = np.repeat(np.arange(topology.shape[0]), topology.fan_in())
    return dense[rows, topology.indices]


@pytest.mark.parametrize(("n_batch", "stride"), [(1, 16), (5, 16), (37, 48), (96, 96), (120, 128), (144, 144)])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_the_outer_product_at_the_connections(make_connections, make_columns, shape, n_batch, stride):
    layer = make_connections(*shape)
    delta, source = make_columns(shape[0], n_batch, stride), make_columns(shape[1], n_batch, stride, seed=3)
    source[:, n_batch:] = 7.0  # what the columns beyond the batch hold must not matter
    weight_gradient, bias_gradient = run_gradient(layer, delta, source)
    wide_delta, wide_source = delta.astype(np.float64), source.astype(np.float64)
    expected = at_connections(layer.topology, wide_delta @ wide_source.T)
    size = at_connections(layer.topology, np.abs(wide_delta) @ np.abs(wide_source).T)
    assert (np.abs(weight_gradient - expected) <= 2e-7 * n_batch * size).all()
    bias_size = np.abs(wide_delta).sum(axis=1)
    assert (np.abs(bias_gradient - wide_delta.sum(axis=1)) <= 2e-7 * n_batch * bias_size).all()


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


def run_steps(layer, steps, *, rate, momentum, weight_decay, is_nesterov):
    t = layer.topology
    state = [layer.weight.copy(), layer.bias.copy(), np.zeros_like(layer.weight), np.zeros_like(layer.bias)]
    for delta, source in steps:
        gradient_update(
            t.indptr, t.indices, delta, source, t.bounds,
            np.float32(rate), np.float32(momentum), np.float32(rate * weight_decay), is_nesterov, *state,
        )  # fmt: skip
    return state


@pytest.mark.parametrize("shape", SHAPES)
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
def test_updates_are_those_of_sgd_in_float64(make_connections, make_columns, shape, settings):
    layer = make_connections(*shape)
    steps = [(make_columns(shape[0], 37, seed=10 + n), make_columns(shape[1], 37, seed=20 + n)) for n in range(N_STEPS)]
    found = run_steps(layer, steps, rate=0.05, **settings)
    expected = expected_steps(layer, steps, rate=0.05, **settings)
    for array, expected_array in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, expected_array, rtol=1e-5, atol=1e-5)


def test_a_plain_step_is_the_gradient_kernel_times_the_rate(make_connections, make_columns):
    layer = make_connections(43, 37)
    step = make_columns(43, 37), make_columns(37, 37, seed=3)
    settings = {"momentum": 0.0, "weight_decay": 0.0, "is_nesterov": False}
    _, _, weight_velocity, bias_velocity = run_steps(layer, [step], rate=1.0, **settings)
    weight_gradient, bias_gradient = run_gradient(layer, *step)
    np.testing.assert_array_equal(weight_velocity, -weight_gradient)
    np.testing.assert_allclose(bias_velocity, -bias_gradient, rtol=1e-4, atol=1e-5)


def test_the_number_of_threads_changes_no_bit(make_connections, make_columns, on_every_thread_count):
    layer = make_connections(150, 96)
    step = make_columns(150, 120), make_columns(96, 120, seed=3)
    settings = {"momentum": 0.9, "weight_decay": 0.01, "is_nesterov": True}
    alone, together = on_every_thread_count(
        lambda: [*run_gradient(layer, *step), *run_steps(layer, [step] * 3, rate=0.1, **settings)]
    )
    for one, other in zip(alone, together, strict=True):
        assert one.tobytes() == other.tobytes()
