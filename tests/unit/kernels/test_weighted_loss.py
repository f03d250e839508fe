"""Losses that no run file names: cross-entropy weighted by class, squared errors of linear outputs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.objectives.squared_error import SquaredError
from hpc_sparse.network.objectives.weighted_cross_entropy import WeightedCrossEntropy

WEIGHTS = np.array([0.25, 3.0, 0.0, 1.0])


@pytest.mark.parametrize(("n_batch", "stride"), [(1, 16), (5, 16), (37, 48)])
def test_a_class_weight_multiplies_the_loss_and_the_delta_of_its_samples(n_batch, stride):
    rng = np.random.default_rng(n_batch)
    sums = (3 * rng.standard_normal((4, stride))).astype(np.float32)
    labels = rng.integers(0, 4, n_batch).astype(np.int32)
    z = sums[:, :n_batch].astype(np.float64)
    delta = np.full_like(sums, np.nan)
    objective = WeightedCrossEntropy(WEIGHTS)
    outcome = objective.evaluate(sums, labels, delta)
    columns = np.arange(n_batch)
    expected_loss = -(WEIGHTS[labels] * log_softmax(z, axis=0)[labels, columns]).sum()
    assert outcome.loss == pytest.approx(expected_loss, rel=1e-6)
    assert objective.exact_loss(z, labels) == pytest.approx(expected_loss / n_batch, rel=1e-12)
    expected = softmax(z, axis=0)
    np.testing.assert_allclose(sums[:, :n_batch], expected, rtol=1e-5)
    expected[labels, columns] -= 1
    np.testing.assert_allclose(delta[:, :n_batch], expected * WEIGHTS[labels] / n_batch, rtol=1e-4, atol=1e-7)
    assert (delta[:, n_batch:] == 0).all()
    assert outcome.n_correct == (z.argmax(axis=0) == labels).sum()


def test_weights_of_one_change_no_bit():
    rng = np.random.default_rng(4)
    sums = (3 * rng.standard_normal((5, 32))).astype(np.float32)
    labels = rng.integers(0, 5, 29).astype(np.int32)
    delta, same_delta, same_sums = np.empty_like(sums), np.empty_like(sums), sums.copy()
    result = CrossEntropy().evaluate(sums, labels, delta)
    assert WeightedCrossEntropy(np.ones(5)).evaluate(same_sums, labels, same_delta) == result
    assert np.array_equal(same_sums, sums)
    assert np.array_equal(same_delta, delta)


@pytest.mark.parametrize("n_outputs", [1, 2, 3])
@pytest.mark.parametrize(("n_batch", "stride"), [(1, 16), (37, 48)])
def test_squared_errors_and_their_deltas_are_those_of_float64(n_outputs, n_batch, stride):
    rng = np.random.default_rng(n_outputs)
    sums = (3 * rng.standard_normal((n_outputs, stride))).astype(np.float32)
    targets = rng.standard_normal((n_batch, n_outputs)).astype(np.float32)
    before, delta = sums.copy(), np.full_like(sums, np.nan)
    outcome = SquaredError().evaluate(sums, targets, delta)
    errors = sums[:, :n_batch].astype(np.float64) - targets.T
    assert outcome.loss == pytest.approx((errors**2).mean(axis=0).sum(), rel=1e-6)
    exact = SquaredError().exact_loss(before[:, :n_batch].astype(np.float64), targets)
    assert exact == pytest.approx((errors**2).mean(), rel=1e-12)
    np.testing.assert_allclose(delta[:, :n_batch], 2 * errors / errors.size, rtol=1e-5)
    assert (delta[:, n_batch:] == 0).all()
    assert np.array_equal(sums, before)
    assert outcome.metrics == {}
    assert outcome.n_correct == 0


def test_a_regression_has_one_output_per_target():
    assert [SquaredError().n_outputs(n) for n in (1, 2, 3)] == [1, 2, 3]
