"""Steps of Adagrad against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.config import parse_config
from hpc_sparse.errors import ConfigError
from hpc_sparse.network.optimizers.adagrad import SQUARES, Adagrad
from hpc_sparse.network.optimizers.registry import make_optimizer

CONFIG = """
[data]
path = "small.h5"
[network]
hidden = [3]
[training]
epochs = 1
optimizer = "adagrad"
[optimizer]
weight_decay = 0.25
[optimizer.adagrad]
epsilon = 0.125
"""


def test_steps_are_those_of_float64():
    rng = np.random.default_rng(0)
    values, squares, n_decayed = rng.standard_normal(29).astype(np.float32), np.zeros(29, np.float32), 17
    exact, total = values.astype(np.float64), np.zeros(29)
    optimizer = Adagrad(epsilon=1e-3, weight_decay=0.1)
    for _ in range(5):
        gradient = rng.standard_normal(29).astype(np.float32)
        optimizer.descend(0.05, values, gradient.copy(), n_decayed, {SQUARES: squares})
        total += gradient.astype(np.float64) ** 2
        exact[:n_decayed] *= 1 - 0.05 * 0.1
        exact -= 0.05 * gradient / (np.sqrt(total) + 1e-3)
    np.testing.assert_allclose(squares, total, rtol=1e-6)
    np.testing.assert_allclose(values, exact, rtol=2e-6, atol=1e-6)


def test_a_parameter_without_gradient_stays():
    values, squares = np.ones(3, np.float32), np.zeros(3, np.float32)
    Adagrad(epsilon=1e-6).descend(0.1, values, np.zeros(3, np.float32), 0, {SQUARES: squares})
    np.testing.assert_array_equal(values, 1)


def test_settings_come_from_the_configuration_and_those_of_momentum_are_refused():
    assert make_optimizer(parse_config(CONFIG, "small.toml", ())) == Adagrad(0.125, 0.25)
    with pytest.raises(ConfigError, match=r'training.optimizer = "adagrad": not with optimizer.nesterov = true'):
        parse_config(CONFIG, "small.toml", ("optimizer.nesterov=true",))
