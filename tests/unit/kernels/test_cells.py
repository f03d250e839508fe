"""Cells of recurrent layers against NumPy in float64: values, derivatives, tiles of every width, threads."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.norm import BLOCK, scale, sum_of_squares
from hpc_sparse.kernels.recurrent.gru import gru_backward, gru_forward
from hpc_sparse.kernels.recurrent.tanh import tanh_backward, tanh_forward
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.tiles import Tiles

SIZES = [(1, 16), (3, 48), (37, 112), (5, 128), (64, 240)]


def logistic(z):
    return 1 / (1 + np.exp(-z))


def numbers(n, n_columns, seed, size=1.0):
    return (size * np.random.default_rng(seed).standard_normal((n, n_columns))).astype(np.float32)


def forward(n, n_columns, width, size=1.0):
    """Sums and state, then what the kernel makes of them, as matrices."""
    sums, products, before = (
        numbers(3 * n, n_columns, 1, size),
        numbers(3 * n, n_columns, 2, size),
        numbers(n, n_columns, 3),
    )
    gates, fed_back, state = (Tiles.of(each, width) for each in (sums, products, before))
    after = state.like(n)
    gru_forward(gates.values, fed_back.values, state.values, n, width, after.values)
    return (sums, products, before), gates, fed_back, state, after


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("n", "n_columns"), SIZES)
@pytest.mark.parametrize("size", [1e-3, 1.0, 40.0])
def test_a_step_of_the_gru_is_its_formula(n, n_columns, width, size):
    (sums, products, before), gates, _, _, after = forward(n, n_columns, width, size)
    x, h = np.split(sums.astype(np.float64), 3), np.split(products.astype(np.float64), 3)
    r, z = logistic(x[0] + h[0]), logistic(x[1] + h[1])
    c = np.tanh(x[2] + r * h[2])
    np.testing.assert_allclose(gates.matrix(), np.concatenate([r, z, c]), rtol=2e-6, atol=3e-7 * max(1, size))
    np.testing.assert_allclose(after.matrix(), (1 - z) * c + z * before, rtol=2e-6, atol=1e-6 * max(1, size))


@pytest.mark.parametrize("has_above", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("n", "n_columns"), SIZES)
def test_the_derivative_of_the_gru_is_that_of_its_formula(n, n_columns, width, has_above):
    (sums, products, before), gates, fed_back, state, _ = forward(n, n_columns, width)
    parts = [numbers(n, n_columns, seed) for seed in (4, 5, 6)]
    above, through, carried = (Tiles.of(each, width) for each in parts)
    given = above.values if has_above else np.empty(0, np.float32)
    gru_backward(gates.values, fed_back.values, state.values, given, through.values, carried.values, n, width)
    delta = sum(parts if has_above else parts[1:]).astype(np.float64)
    x, h = np.split(sums.astype(np.float64), 3), np.split(products.astype(np.float64), 3)
    r, z = logistic(x[0] + h[0]), logistic(x[1] + h[1])
    c = np.tanh(x[2] + r * h[2])
    of_c = delta * (1 - z) * (1 - c**2)
    of_r, of_z = of_c * h[2] * r * (1 - r), delta * (before - c) * z * (1 - z)
    np.testing.assert_allclose(gates.matrix(), np.concatenate([of_r, of_z, of_c]), rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(fed_back.matrix(), np.concatenate([of_r, of_z, of_c * r]), rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(carried.matrix(), delta * z, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("has_above", [True, False])
def test_the_plain_cell_and_its_derivative_are_their_formulas(has_above):
    x, h, above, through = (numbers(7, 48, seed).reshape(-1) for seed in range(4))
    after, deltas, passed = np.empty_like(x), np.empty_like(x), through.copy()
    tanh_forward(x, h, after)
    exact = np.tanh(x.astype(np.float64) + h)
    np.testing.assert_allclose(after, exact, rtol=1e-6)
    tanh_backward(after, above if has_above else np.empty(0, np.float32), passed, deltas)
    expected = (through + (above if has_above else 0)) * (1 - exact**2)
    np.testing.assert_allclose(deltas, expected, rtol=1e-5, atol=1e-6)


def test_functions_are_exact_to_the_last_bits_everywhere_and_finite():
    tiny = np.float32(10.0) ** np.arange(-37, 1, 0.25, dtype=np.float32)
    x = np.concatenate(
        [np.linspace(-30, 30, 4001, dtype=np.float32), tiny, -tiny, [np.float32(3e38), -np.float32(3e38)]]
    )
    x = np.resize(x, -(-x.size // 16) * 16).astype(np.float32)
    after, zero = np.empty_like(x), np.zeros_like(x)
    tanh_forward(x, zero, after)
    np.testing.assert_allclose(after, np.tanh(x.astype(np.float64)), rtol=3e-7)
    gates = np.concatenate([zero, x, zero])
    gru_forward(gates, np.zeros_like(gates), np.ones_like(x), x.size // 16, 16, after)
    with np.errstate(over="ignore"):
        exact = logistic(x.astype(np.float64))
    np.testing.assert_allclose(gates[x.size : 2 * x.size], exact, rtol=4e-7, atol=2e-38)


def test_what_is_not_a_number_stays_so():
    x = np.full(16, np.nan, np.float32)
    after = np.zeros(16, np.float32)
    tanh_forward(x, np.zeros(16, np.float32), after)
    assert np.isnan(after).all()
    gates = np.full(48, np.nan, np.float32)
    gru_forward(gates, np.zeros(48, np.float32), np.zeros(16, np.float32), 1, 16, after)
    assert np.isnan(after).all()


def test_a_number_has_the_same_bits_wherever_it_stands(on_every_thread_count):
    x = numbers(1, 16, 0).reshape(-1)
    after = np.empty_like(x)
    for shift in range(16):
        rolled = np.empty_like(x)
        tanh_forward(np.roll(x, shift), np.zeros_like(x), rolled)
        tanh_forward(x, np.zeros_like(x), after)
        assert np.roll(after, shift).tobytes() == rolled.tobytes()
    one, many = on_every_thread_count(forward(37, 112, 32)[-1].values.tobytes)
    assert one == many


@pytest.mark.parametrize("n", [0, 1, 5, BLOCK, 3 * BLOCK + 7])
def test_the_norm_is_that_of_double_precision_on_any_number_of_threads(n, on_every_thread_count):
    values = numbers(1, n, 8).reshape(-1)
    one, many = on_every_thread_count(lambda: float(sum_of_squares(values)))
    assert one == many
    np.testing.assert_allclose(one, np.square(values, dtype=np.float64).sum(), rtol=1e-12)
    scaled = values.copy()
    scale(scaled, np.float32(0.3))
    np.testing.assert_array_equal(scaled, values * np.float32(0.3))
