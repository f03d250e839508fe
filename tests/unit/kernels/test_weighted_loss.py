"""Losses that no run file names: cross-entropy weighted by class, squared errors of linear outputs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.objectives.sample_weights import SampleCrossEntropy, SampleSquaredError, with_weights
from hpc_sparse.network.objectives.squared_error import SquaredError
from hpc_sparse.network.objectives.weighted_cross_entropy import WeightedCrossEntropy
from hpc_sparse.network.tiles import Tiles

WEIGHTS = np.array([0.25, 3.0, 0.0, 1.0])
BATCHES = [(1, 16), (5, 16), (37, 48), (5, 112), (139, 144)]


def evaluate(objective, sums, targets, width=WIDTHS[-1]):
    """Outcome, outputs and deltas, the last ones as matrices."""
    outputs, delta = Tiles.of(sums, width), Tiles.of(np.full_like(sums, np.nan), width)
    outcome = objective.evaluate(outputs, targets, delta)
    return outcome, outputs.matrix(), delta.matrix()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("n_batch", "stride"), BATCHES)
def test_a_class_weight_multiplies_the_loss_and_the_delta_of_its_samples(n_batch, stride, width):
    rng = np.random.default_rng(n_batch)
    sums = (3 * rng.standard_normal((4, stride))).astype(np.float32)
    labels = rng.integers(0, 4, n_batch).astype(np.int32)
    z = sums[:, :n_batch].astype(np.float64)
    objective = WeightedCrossEntropy(WEIGHTS)
    outcome, outputs, delta = evaluate(objective, sums, labels, width)
    columns = np.arange(n_batch)
    expected_loss = -(WEIGHTS[labels] * log_softmax(z, axis=0)[labels, columns]).sum()
    assert outcome.loss == pytest.approx(expected_loss, rel=1e-6)
    assert objective.exact_loss(z, labels) == pytest.approx(expected_loss / n_batch, rel=1e-12)
    expected = softmax(z, axis=0)
    np.testing.assert_allclose(outputs[:, :n_batch], expected, rtol=1e-5)
    expected[labels, columns] -= 1
    np.testing.assert_allclose(delta[:, :n_batch], expected * WEIGHTS[labels] / n_batch, rtol=1e-4, atol=1e-7)
    assert (delta[:, n_batch:] == 0).all()
    assert outcome.n_correct == (z.argmax(axis=0) == labels).sum()


@pytest.mark.parametrize(("n_batch", "stride"), [(29, 32), (101, 112), (139, 144)])
def test_neither_weights_of_one_nor_the_width_of_tiles_change_a_bit(n_batch, stride):
    rng = np.random.default_rng(4)
    sums = (3 * rng.standard_normal((5, stride))).astype(np.float32)
    labels = rng.integers(0, 5, n_batch).astype(np.int32)
    outcome, outputs, delta = evaluate(CrossEntropy(), sums, labels)
    for width in WIDTHS:
        same_outcome, same_outputs, same_delta = evaluate(WeightedCrossEntropy(np.ones(5)), sums, labels, width)
        assert same_outcome == outcome
        assert np.array_equal(same_outputs, outputs)
        assert np.array_equal(same_delta, delta)


@pytest.mark.parametrize("n_outputs", [1, 2, 3])
@pytest.mark.parametrize(("n_batch", "stride"), BATCHES)
def test_squared_errors_and_their_deltas_are_those_of_float64(n_outputs, n_batch, stride):
    rng = np.random.default_rng(n_outputs)
    sums = (3 * rng.standard_normal((n_outputs, stride))).astype(np.float32)
    targets = rng.standard_normal((n_batch, n_outputs)).astype(np.float32)
    errors = sums[:, :n_batch].astype(np.float64) - targets.T
    exact = SquaredError().exact_loss(sums[:, :n_batch].astype(np.float64), targets)
    assert exact == pytest.approx((errors**2).mean(), rel=1e-12)
    widest = evaluate(SquaredError(), sums, targets)
    for width in WIDTHS:
        outcome, outputs, delta = evaluate(SquaredError(), sums, targets, width)
        assert outcome.loss == pytest.approx((errors**2).mean(axis=0).sum(), rel=1e-6)
        np.testing.assert_allclose(delta[:, :n_batch], 2 * errors / errors.size, rtol=1e-5)
        assert (delta[:, n_batch:] == 0).all()
        assert np.array_equal(outputs, sums)
        assert outcome.metrics == {}
        assert outcome.n_correct == 0
        assert outcome == widest[0]
        assert delta.tobytes() == widest[2].tobytes()


def test_a_regression_has_one_output_per_target():
    assert [SquaredError().n_outputs(n) for n in (1, 2, 3)] == [1, 2, 3]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("n_batch", "stride"), BATCHES)
@pytest.mark.parametrize(
    ("plain", "weighted"), [(CrossEntropy, SampleCrossEntropy), (SquaredError, SampleSquaredError)]
)
def test_the_weight_of_a_sample_multiplies_its_loss_and_its_delta(plain, weighted, n_batch, stride, width):
    rng = np.random.default_rng(n_batch)
    sums = (3 * rng.standard_normal((4, stride))).astype(np.float32)
    labels = rng.integers(0, 4, n_batch).astype(np.int32)
    targets = labels if plain is CrossEntropy else rng.standard_normal((n_batch, 4)).astype(np.float32)
    weights = rng.uniform(0, 3, n_batch) * (np.arange(n_batch) % 3 > 0)
    both = with_weights(targets, weights)
    outcome, outputs, delta = evaluate(weighted(), sums, both, width)
    expected, plain_outputs, plain_delta = evaluate(plain(), sums, targets, width)
    assert np.array_equal(outputs[:, :n_batch], plain_outputs[:, :n_batch])
    assert outcome.metrics == expected.metrics
    np.testing.assert_allclose(delta[:, :n_batch], plain_delta[:, :n_batch] * weights, rtol=1e-5, atol=1e-9)
    assert (delta[:, n_batch:] == 0).all()
    z = sums[:, :n_batch].astype(np.float64)
    own = [plain().exact_loss(z[:, c : c + 1], targets[c : c + 1]) for c in range(n_batch)]
    assert weighted().exact_loss(z, both) == pytest.approx(np.mean(weights * own), rel=1e-9)
    assert outcome.loss == pytest.approx(np.sum(weights * own), rel=1e-5)
