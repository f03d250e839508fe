"""Losses against NumPy in float64, their deltas against finite differences of that."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, log_expit, log_softmax, softmax

from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.kernels.threads import at_most_threads
from hpc_sparse.network.objectives.binary_cross_entropy import BinaryCrossEntropy
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.objectives.hinge import Hinge
from hpc_sparse.network.objectives.mse import Mse
from hpc_sparse.network.objectives.mse_tanh import MseTanh
from hpc_sparse.network.tiles import Tiles

STEP = 1e-6


def cross_entropy(z, labels):
    return -log_softmax(z, axis=0)[labels, np.arange(labels.size)].sum()


def binary_cross_entropy(z, labels):
    return -np.where(labels == 1, log_expit(z[0]), log_expit(-z[0])).sum()


def squared(z, labels, squash, low):
    n_outputs = z.shape[0]
    is_high = labels[None, :] == (1 if n_outputs == 1 else np.arange(n_outputs)[:, None])
    return ((squash(z) - np.where(is_high, 1.0, low)) ** 2).sum() / n_outputs


def hinge(z, labels):
    columns, others = np.arange(labels.size), z.copy()
    others[labels, columns] = -np.inf
    return np.maximum(0, 1 + others.max(axis=0) - z[labels, columns]).sum()


LOSSES = {kind.name: kind() for kind in (CrossEntropy, BinaryCrossEntropy, Mse, MseTanh, Hinge)}
REFERENCES = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mse": lambda z, labels: squared(z, labels, expit, 0.0),
    "mse_tanh": lambda z, labels: squared(z, labels, np.tanh, -1.0),
    "hinge": hinge,
}
OUTPUTS = {
    "cross_entropy": lambda z: softmax(z, axis=0),
    "binary_cross_entropy": expit,
    "mse": expit,
    "mse_tanh": np.tanh,
    "hinge": lambda z: z,
}
CASES = [
    ("cross_entropy", 10),
    ("cross_entropy", 2),
    ("cross_entropy", 1),
    ("binary_cross_entropy", 1),
    ("mse", 1),
    ("mse", 4),
    ("mse_tanh", 1),
    ("mse_tanh", 4),
    ("hinge", 2),
    ("hinge", 7),
]

BATCHES = [(1, 16), (5, 16), (37, 48), (5, 112), (101, 112), (139, 144)]


def make_case(n_outputs, n_batch, stride):
    rng = np.random.default_rng(n_outputs + n_batch)
    sums = (rng.standard_normal((n_outputs, stride)) * 3).astype(np.float32)
    n_classes = 2 if n_outputs == 1 else n_outputs
    return sums, rng.integers(0, n_classes, n_batch).astype(np.int32)


def evaluate(name, sums, labels, width=WIDTHS[-1]):
    """Outcome, outputs and deltas, the last ones as matrices."""
    outputs, delta = Tiles.of(sums, width), Tiles.of(np.full_like(sums, np.nan), width)
    outcome = LOSSES[name].evaluate(outputs, labels, delta)
    return outcome, outputs.matrix(), delta.matrix()


def finite_differences(function, z):
    slopes = np.empty_like(z)
    for position in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[position] += STEP
        down[position] -= STEP
        slopes[position] = (function(up) - function(down)) / (2 * STEP)
    return slopes


@pytest.mark.parametrize(("n_batch", "stride"), BATCHES)
@pytest.mark.parametrize(("name", "n_outputs"), CASES)
def test_losses_and_deltas_are_those_of_float64(name, n_outputs, n_batch, stride):
    sums, labels = make_case(n_outputs, n_batch, stride)
    if (name, n_outputs) == ("cross_entropy", 1):
        labels[:] = 0
    z = sums[:, :n_batch].astype(np.float64)
    assert LOSSES[name].exact_loss(z, labels) == pytest.approx(REFERENCES[name](z, labels) / n_batch, rel=1e-12)
    expected = finite_differences(lambda moved: REFERENCES[name](moved, labels) / n_batch, z)
    for width in WIDTHS:
        (loss, _), outputs, delta = evaluate(name, sums, labels, width)
        assert loss == pytest.approx(REFERENCES[name](z, labels), rel=1e-6)
        np.testing.assert_allclose(delta[:, :n_batch], expected, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(outputs[:, :n_batch], OUTPUTS[name](z), rtol=1e-6, atol=1e-7)
        assert (delta[:, n_batch:] == 0).all()


@pytest.mark.parametrize(("n_batch", "stride"), BATCHES)
@pytest.mark.parametrize(("name", "n_outputs"), CASES)
def test_the_width_of_tiles_changes_no_bit(name, n_outputs, n_batch, stride):
    sums, labels = make_case(n_outputs, n_batch, stride)
    labels %= n_outputs if name == "cross_entropy" else 2 if n_outputs == 1 else n_outputs
    outcome, outputs, delta = evaluate(name, sums, labels)
    for width in WIDTHS:
        found = evaluate(name, sums, labels, width)
        assert found[0] == outcome
        assert found[1].tobytes() == outputs.tobytes()
        assert found[2].tobytes() == delta.tobytes()


@pytest.mark.parametrize(("name", "n_outputs"), CASES)
def test_correct_predictions_are_counted(name, n_outputs):
    sums, labels = make_case(n_outputs, 37, 48)
    predicted = (sums[0, :37] > 0) if n_outputs == 1 and name != "cross_entropy" else sums[:, :37].argmax(axis=0)
    for width in WIDTHS:
        assert evaluate(name, sums, labels, width)[0].n_correct == (predicted == labels).sum()


@pytest.mark.parametrize("name", ["cross_entropy", "mse", "mse_tanh", "hinge"])
def test_the_first_of_equal_outputs_is_the_prediction(name):
    sums = np.zeros((3, 16), np.float32)
    sums[0, 3] = -1
    labels = np.array([0, 1, 2, 1, 2], np.int32)
    assert evaluate(name, sums, labels)[0].n_correct == 2


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_huge_sums_neither_overflow_nor_lose_the_loss(name):
    n_outputs = LOSSES[name].n_outputs(2)
    sums = np.zeros((n_outputs, 16), np.float32)
    sums[-1, :2] = [2000.0, -2000.0]
    outcome, _, delta = evaluate(name, sums, np.array([0, 1], np.int32))
    assert outcome.loss == pytest.approx(4000.0)
    assert outcome.metrics == {"n_correct": 0}
    np.testing.assert_allclose(delta[-1, :2], [0.5, -0.5])


def test_two_classes_share_one_output_except_with_softmax():
    assert {name: loss.n_outputs(2) for name, loss in LOSSES.items()} == {
        "cross_entropy": 2,
        "binary_cross_entropy": 1,
        "mse": 1,
        "mse_tanh": 1,
        "hinge": 2,
    }
    assert {loss.n_outputs(3) for loss in LOSSES.values() if not loss.is_binary} == {3}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_loss_of_places_is_that_of_numpy_on_any_number_of_threads(width):
    n_outputs, n_samples, n_places = 7, 37, 61
    rng = np.random.default_rng(width)
    values = rng.normal(0, 3, (n_places, n_outputs, n_samples)).astype(np.float32)
    labels = rng.integers(-1, n_outputs, (n_samples, n_places)).astype(np.int32)
    labels[:, 4] = -1
    counts = labels.T >= 0
    exact = log_softmax(values.astype(np.float64), axis=1)
    expected = -sum(exact[p, labels[s, p], s] for p, s in np.argwhere(counts))
    n_correct = np.sum((values.argmax(axis=1) == labels.T) & counts)
    targets = np.zeros_like(exact)
    for p, s in np.argwhere(counts):
        targets[p, labels[s, p], s] = 1
    slopes = np.where(counts[:, None], np.exp(exact) - targets, 0) / counts.sum()
    found = set()
    for n_threads in (1, 2, 3, 4):
        sums = Tiles.empty(n_outputs, n_samples, width, n_places=n_places)
        for place, own in enumerate(values):
            sums.place(place).values[:] = Tiles.of(own, width).values
        delta = sums.like(n_outputs)
        with at_most_threads(n_threads):
            outcome = CrossEntropy().evaluate(sums, labels, delta)
        np.testing.assert_allclose(delta.exact(n_samples), slopes, atol=1e-6 / counts.sum(), rtol=1e-5)
        found.add((outcome.loss, outcome.n_correct, delta.values.tobytes()))
    assert len(found) == 1
    np.testing.assert_allclose(outcome.loss, expected, rtol=1e-6)
    assert outcome.n_correct == n_correct
