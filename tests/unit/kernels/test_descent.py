"""Updates of a whole vector of parameters, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.sparse.descent import add_scaled, descend_all

RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 0.05


@pytest.mark.parametrize("is_nesterov", [False, True])
@pytest.mark.parametrize(("n", "n_decayed"), [(1, 0), (1, 1), (37, 29), (1000, 0), (1000, 1000)])
def test_a_step_is_sgd_with_momentum_and_only_weights_decay(n, n_decayed, is_nesterov):
    rng = np.random.default_rng(n + n_decayed)
    gradient, values, velocities = (rng.standard_normal(n).astype(np.float32) for _ in range(3))
    w, v, g = (array.astype(np.float64) for array in (values, velocities, gradient))
    decay = np.where(np.arange(n) < n_decayed, RATE * WEIGHT_DECAY, 0) * w
    v = MOMENTUM * v - RATE * g
    w += (MOMENTUM * v - RATE * g if is_nesterov else v) - decay
    kept = gradient.copy()
    rates = (np.float32(RATE), np.float32(MOMENTUM), np.float32(RATE * WEIGHT_DECAY))
    descend_all(gradient, n_decayed, *rates, is_nesterov, values, velocities)
    np.testing.assert_allclose(values, w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(velocities, v, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(gradient, kept)


@pytest.mark.parametrize("n", [0, 1, 33, 1000])
def test_scaled_values_are_added(n):
    rng = np.random.default_rng(n)
    values, out = (rng.standard_normal(n).astype(np.float32) for _ in range(2))
    expected = out.astype(np.float64) + 17.0 * values
    add_scaled(values, np.float32(17), out)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
