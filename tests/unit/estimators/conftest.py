"""Small problems for the estimators."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def classes():
    """Features float64[130, 7] and labels of three named classes that overlap a little."""
    rng = np.random.default_rng(6)
    labels = np.arange(130) % 3
    X = 2 * rng.standard_normal((3, 7))[labels] + rng.standard_normal((130, 7))
    return X, np.array(["ash", "birch", "cedar"])[labels]


@pytest.fixture(scope="session")
def curve():
    """Features float64[240, 3] and two targets of very different units, the second one not linear."""
    X = np.random.default_rng(7).uniform(-2, 2, (240, 3))
    return X, np.column_stack([1e4 + 300 * X[:, 0], 1e-3 * np.sin(2 * X[:, 1])])
