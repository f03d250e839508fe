"""Velocities in bfloat16: a step in float32, rounded up or down at random, without bias, by position and key alone."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.patterns import gradient as patterns
from hpc_sparse.kernels.simd.velocity import RoundedVelocity
from hpc_sparse.kernels.sparse import gradient
from hpc_sparse.kernels.sparse.descent import descend_all
from hpc_sparse.network.bfloat16 import narrowed, widened

RATE, MOMENTUM, DECAY = np.float32(0.1), np.float32(0.9), np.float32(0.005)


def made(n, seed=0):
    """Gradient, values, and velocities in bfloat16."""
    rng = np.random.default_rng(seed)
    gradient, values, velocity = (rng.standard_normal(n).astype(np.float32) for _ in range(3))
    return gradient, values, narrowed(velocity)


def stepped(gradient, values, velocity, key=7, *, first=0, is_nesterov=False):
    """Values and velocities after a step, the latter in bfloat16."""
    values, velocity = values.copy(), velocity.copy()
    rounded = RoundedVelocity(velocity, np.uint32(key), first)
    descend_all(gradient, values.size, RATE, MOMENTUM, DECAY, is_nesterov, values, rounded)
    return values, velocity


@pytest.mark.parametrize("is_nesterov", [False, True])
@pytest.mark.parametrize("n", [1, 37, 1000])
def test_a_step_is_the_exact_one_and_its_velocity_a_neighbour_of_the_exact_one(n, is_nesterov):
    gradient, values, velocity = made(n)
    v = 0.9 * widened(velocity).astype(np.float64) - 0.1 * gradient.astype(np.float64)
    w = values.astype(np.float64)
    w += (0.9 * v - 0.1 * gradient if is_nesterov else v) - 0.005 * w
    found, rounded = stepped(gradient, values, velocity, is_nesterov=is_nesterov)
    np.testing.assert_allclose(found, w, rtol=1e-5, atol=1e-6)
    error = np.abs(widened(rounded) - v)
    assert (error <= np.abs(v) * 2**-7 + 1e-6).all()
    if n == 1000:
        assert error.max() > 1e-3


def test_rounding_has_no_bias():
    gradient, values, velocity = made(200)
    values_of_float32 = widened(velocity).copy()
    descend_all(gradient, 200, RATE, MOMENTUM, DECAY, False, values.copy(), values_of_float32)
    draws = np.array([widened(stepped(gradient, values, velocity, key)[1]) for key in range(4000)], np.float64)
    low, high = draws.min(axis=0), draws.max(axis=0)
    expected, gap = values_of_float32.astype(np.float64), high - low
    assert ((low <= expected) & (expected <= high) & (gap <= np.abs(expected) / 64)).all()
    # The sum of draws of one of two numbers is binomial: 5 standard deviations, and those of all together.
    error = draws.mean(axis=0) - expected
    assert (np.abs(error) <= 5 * gap / 2 / np.sqrt(4000) + 1e-12).all()
    assert abs((error / np.maximum(gap, 1e-30)).mean()) < 5 * 0.5 / np.sqrt(4000 * 200)
    # Neither do neighbours go up together, nor do the steps of a connection.
    ups = (draws == high) - (draws == high).mean(axis=0)
    split = (gap > 0) & (ups.std(axis=0) > 0.3)
    ups = ups[:, split] / ups[:, split].std(axis=0)
    assert abs((ups[:, 1:] * ups[:, :-1]).mean()) < 5 / np.sqrt(ups.size)
    assert abs((ups[1:] * ups[:-1]).mean()) < 5 / np.sqrt(ups.size)


def test_velocities_that_a_bfloat16_could_not_tell_from_0_change_add_up():
    # To nearest, 1 - 2^-11 would stay 1 for ever.
    n = 500
    values, velocity = np.zeros(n, np.float32), narrowed(np.ones(n, np.float32))
    for key in range(256):
        rounded = RoundedVelocity(velocity, np.uint32(key * 2654435761 % 2**32))
        descend_all(values * 0, n, RATE, np.float32(1 - 2**-11), np.float32(0), False, values.copy(), rounded)
    assert widened(velocity).mean() == pytest.approx((1 - 2**-11) ** 256, rel=0.005)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(np.float32).tiny])
def test_special_values_stay(value):
    with np.errstate(invalid="ignore"):
        gradient, values = np.full(64, -np.float32(value) * 10, np.float32), np.zeros(64, np.float32)
        for key in (0, 1, 2**32 - 1):
            found = widened(stepped(gradient, values, np.zeros(64, np.uint16), key)[1])
            exact = np.float32(0.9) * np.float32(0) - RATE * gradient
            np.testing.assert_allclose(found, exact, rtol=2**-7)
    nothing = np.array([0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(widened(stepped(nothing, np.zeros(2, np.float32), np.zeros(2, np.uint16))[1])).all()


def test_bits_go_by_key_and_position():
    gradient, values, velocity = made(301)
    whole = stepped(gradient, values, velocity)[1]
    parts = [
        stepped(gradient[part], values[part], velocity[part], first=part.start)[1]
        for part in (slice(0, 100), slice(100, 301))
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (stepped(gradient, values, velocity, key=8)[1] != whole).mean() > 0.2
    assert (stepped(gradient, values, velocity, first=1)[1] != whole).mean() > 0.2


@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize("kind", ["csr", "n_of_m"])
def test_fused_kernels_and_any_blocks_of_rows_lead_to_the_bits_of_a_step_of_the_vector(kind, width):
    n_out, n_in, fan_in, rng = 23, 24, 6, np.random.default_rng(1)
    delta, source = (rng.standard_normal(n * width).astype(np.float32) for n in (n_out, n_in))
    base = np.arange(fan_in, dtype=np.int32) * 4
    position = rng.integers(0, 4, n_out * fan_in).astype(np.uint8)
    indptr = np.arange(n_out + 1, dtype=np.int32) * fan_in
    indices = np.tile(base, n_out) + position.astype(np.int32)
    of_weights = np.empty(n_out * fan_in, np.float32)
    bounds = np.array([0, n_out])
    gradient.weight_gradients(indptr, indices, delta, source, bounds, 1, width, of_weights)
    _, values, velocity = made(n_out * fan_in)
    expected = stepped(of_weights, values, velocity)
    for ranges in (bounds, np.array([0, 5, 5, 20, n_out])):
        for is_fused in (True, False):
            own, kept, bias, speed = values.copy(), velocity.copy(), *np.zeros((2, n_out), np.float32)
            states = (own, bias, RoundedVelocity(kept, np.uint32(7)), speed)
            step = (delta, *((source,) if is_fused else ()), ranges, width, RATE, MOMENTUM, DECAY, False, *states)
            if kind == "csr":
                first = (indptr, indices) if is_fused else (indptr, of_weights.reshape(1, -1).copy())
                (gradient.gradient_update if is_fused else gradient.update)(*first, *step)
            elif is_fused:
                patterns.gradient_update(position, base, *step)
            else:
                patterns.update(of_weights.copy(), *step)
            np.testing.assert_array_equal(kept, expected[1])
            np.testing.assert_array_equal(own, expected[0])
