"""Clipping keeps the direction of the gradient of all parameters and bounds its norm."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.dtypes import HIDDEN_VALUES
from hpc_sparse.network.dropout import NO_DROPOUT
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.clipping import clip
from hpc_sparse.network.optimizers.sgd import VELOCITY, Sgd
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles


def step(clip_norm, *, n_steps=1, velocity="float32"):
    """Velocities and parameters after some steps of a small network."""
    network = Network.random([9, 14, 11, 3], [0.5] * 3, activation="relu", alpha=0, initializer="he_uniform", seed=1)
    replica, rng = Replica.at_rest(network, {VELOCITY: HIDDEN_VALUES[velocity]}), np.random.default_rng(0)
    workspace, labels = network.make_workspace(40), np.arange(40, dtype=np.int32) % 3
    batch = Tiles.of(rng.standard_normal((9, 40)).astype(np.float32), network.tile_width)
    for number in range(n_steps):
        dropouts, sgd = [NO_DROPOUT] * 2, Sgd(0.9, 1e-3, velocity=velocity).drawing_for(number)
        replica.train_batch(batch, labels, CrossEntropy(), dropouts, sgd, 0.1, workspace, clip_norm)
    velocities = np.concatenate([own for state in replica.states for own in state[VELOCITY].values()])
    values = np.concatenate([each.values for layer in network.layers for each in layer.parameters().values()])
    return velocities, values


@pytest.mark.parametrize("velocity", HIDDEN_VALUES)
def test_a_gradient_that_is_short_enough_leads_to_the_bits_of_no_clipping(velocity):
    both = (step(clip_norm, n_steps=3, velocity=velocity) for clip_norm in (1e6, None))
    for own, other in zip(*both, strict=True):
        assert own.tobytes() == other.tobytes()


def test_a_longer_one_has_the_norm_and_its_own_direction():
    clipped, free = step(0.01)[0] / 0.1, step(None)[0] / 0.1
    np.testing.assert_allclose(np.linalg.norm(clipped), 0.01, rtol=1e-5)
    np.testing.assert_allclose(clipped, free * 0.01 / np.linalg.norm(free), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_hidden(value):
    gradient = np.array([1, value, 2], np.float32)
    clip(gradient, 1.0)
    assert not np.isfinite(gradient).all()


def test_the_norm_before_is_told():
    gradient = np.array([3, -4], np.float32)
    assert clip(gradient, 10.0) == 5.0
    assert gradient.tolist() == [3, -4]
    assert clip(gradient, 2.5) == 5.0
    np.testing.assert_allclose(gradient, [1.5, -2])
