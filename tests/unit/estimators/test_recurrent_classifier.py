"""The classifier of sequences: shapes of samples, what it learns, what it refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse
from sklearn.model_selection import cross_val_score

from hpc_sparse import SparseRNNClassifier
from hpc_sparse.errors import ArrayError, ParameterError

QUICK = {"hidden": (12, 10), "epochs": 8, "random_state": 0, "n_jobs": 1, "density": 0.5}
N_STEPS = 6


def sequences(n=240, seed=0):
    """The class is whether the larger of two spikes comes first: no single step tells it."""
    rng = np.random.default_rng(seed)
    X, y = 0.1 * rng.normal(size=(n, N_STEPS, 2)).astype(np.float32), rng.integers(0, 2, n)
    X[np.arange(n), rng.integers(0, 3, n), 0] += 1 + y
    X[np.arange(n), rng.integers(3, 6, n), 0] += 2 - y
    return X, np.array(["rises", "falls"])[y]


def test_it_learns_what_no_single_step_tells():
    model = SparseRNNClassifier((24,), epochs=40, random_state=0).fit(*sequences(600))
    X, y = sequences(seed=1)
    assert model.score(X, y) > 0.95
    assert model.n_steps_ == N_STEPS
    assert model.network_.n_places == N_STEPS
    assert model.feature_importances_.shape == (12,)
    np.testing.assert_allclose(model.feature_importances_.sum(), 1)


def test_all_shapes_of_the_same_samples_give_the_same_bits():
    X, y = sequences()
    flat = X.reshape(len(X), -1)
    expected = SparseRNNClassifier(**QUICK, standardize=False).fit(X, y).predict_proba(X)
    model = SparseRNNClassifier(**QUICK, standardize=False, time_steps=N_STEPS).fit(flat, y)
    np.testing.assert_array_equal(model.predict_proba(flat), expected)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    np.testing.assert_array_equal(model.fit(scipy.sparse.csr_array(flat), y).predict_proba(flat), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(flat), expected)


def test_features_are_steps_unless_said_otherwise():
    X, y = sequences()
    assert SparseRNNClassifier(**QUICK).fit(X[:, :, 0], y).n_steps_ == N_STEPS


def test_it_goes_on_by_parts():
    X, y = sequences()
    model = SparseRNNClassifier(**QUICK)
    for _ in range(3):
        model.partial_fit(X, y, classes=["falls", "rises"])
    assert model.n_iter_ == 3


def ragged(n=240, seed=0):
    """As :func:`sequences`, and then up to three steps of nothing in particular."""
    X, y = sequences(n, seed)
    rng = np.random.default_rng(seed + 5)
    return [np.concatenate([own, rng.normal(size=(rng.integers(0, 4), 2))]).astype(np.float32) for own in X], y


def padded(X, n_steps, rest):
    found = np.full((len(X), n_steps, 2), rest, np.float32)
    for own, each in zip(found, X, strict=True):
        own[: len(each)] = each
    return found, np.array([len(each) for each in X])


@pytest.mark.parametrize("settings", [{}, {"connections": "block", "block": (4, 1), "hidden": (12, 8)}])
def test_sequences_of_different_lengths_are_a_list_or_an_array_with_lengths(settings):
    X, y = ragged()
    listed = SparseRNNClassifier(**(QUICK | settings)).fit(X, y)
    array, lengths = padded(X, 9, np.nan)
    given = SparseRNNClassifier(**(QUICK | settings)).fit(array, y, lengths=lengths)
    assert listed.n_steps_ == given.n_steps_ == 9
    expected = listed.predict_proba(X)
    np.testing.assert_array_equal(given.predict_proba(array, lengths=lengths), expected)
    np.testing.assert_array_equal(given.predict_proba(X), expected)
    np.testing.assert_allclose(np.exp(listed.predict_log_proba(X)), expected)
    np.testing.assert_array_equal(listed.predict(X), listed.classes_[expected.argmax(axis=1)])
    assert listed.score(X, y) == given.score(array, y, lengths=lengths) == np.mean(listed.predict(X) == y)
    short = [own for own in X if len(own) <= 7]
    own, lengths = padded(short, 7, 3.0)
    np.testing.assert_array_equal(given.predict_proba(own, lengths=lengths), listed.predict_proba(short))
    for row in range(3):
        np.testing.assert_array_equal(listed.predict_proba([X[row]])[0], expected[row])


def test_it_learns_from_sequences_of_different_lengths():
    model = SparseRNNClassifier((24,), epochs=40, random_state=0, early_stopping=True).fit(*ragged(600))
    X, y = ragged(seed=1)
    assert model.score(X, y) > 0.9


def test_only_steps_that_count_are_standardised():
    X, y = ragged()
    X = [own + np.float32(1e3) for own in X]
    model = SparseRNNClassifier(**QUICK).fit(X, y)
    array, lengths = padded(X, 9, 0.0)
    front_end = model._state.front_end.parts[0]
    for step in range(9):
        own, columns = array[lengths > step, step].astype(np.float64), slice(2 * step, 2 * step + 2)
        np.testing.assert_allclose(front_end.mean[columns], own.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(front_end.deviation[columns], own.std(axis=0), rtol=1e-3)


def test_lists_go_on_by_parts_and_are_divided_by_scikit_learn():
    X, y = ragged()
    model = SparseRNNClassifier(**QUICK, time_steps=12)
    model.partial_fit(X[:100], y[:100], classes=["falls", "rises"])
    model.partial_fit(X[100:], y[100:])
    assert (model.n_iter_, model.n_steps_) == (2, 12)
    assert cross_val_score(SparseRNNClassifier(**QUICK, time_steps=9), X, y, cv=2).shape == (2,)


LENGTHS = np.full(40, N_STEPS)


@pytest.mark.parametrize(
    ("change", "lengths", "message"),
    [
        (lambda X: X, LENGTHS[1:], r"lengths: int64\[39\]: expected integers \[40\], the steps of each sample"),
        (lambda X: X, LENGTHS * 1.5, r"lengths: float64\[40\]: expected integers"),
        (lambda X: X, LENGTHS + 1, r"lengths\[0\] = 7: must be >= 1 and <= 6, the steps"),
        (lambda X: X, LENGTHS * 0, r"lengths\[0\] = 0: must be >= 1 and <= 6, the steps"),
        (list, LENGTHS, "lengths: not with a list of sequences, which have lengths of their own"),
        (lambda X: [*X[:3], X[3, :, :1], *X[4:]], None, r"X\[3\] has 1 features: expected 2, as X\[0\] has"),
        (lambda X: [*X[:3], X[3, :0], *X[4:]], None, r"X\[3\]: float32\[0, 2\]: expected real numbers"),
        (lambda X: [np.array([["a", "b"]]), *X[1:]], None, r"X\[0\]: <U1\[1, 2\]: expected real numbers"),
    ],
)
def test_wrong_sequences_are_one_message(change, lengths, message):
    X, y = sequences(40)
    model = SparseRNNClassifier(**QUICK)
    with pytest.raises(ArrayError, match=f"SparseRNNClassifier: {message}"):
        model.fit(change(X), y, lengths=lengths)
    assert not hasattr(model, "_state")


def test_more_steps_than_in_the_fit_are_refused():
    X, y = sequences(40)
    model = SparseRNNClassifier(**QUICK).fit(X, y)
    with pytest.raises(ArrayError, match=r"SparseRNNClassifier: X\[1\] has 9 steps: expected at most 6"):
        model.predict([X[0], np.zeros((9, 2), np.float32)])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"connections": "block", "block": (5, 1)}, r"block = 5: must be 1, 4, 8, 16 or 32"),
        ({"connections": "block", "block": (8, 1)}, r"block = \[8, 1\]: must divide n = 12, the width of the state"),
        (
            {"connections": "block", "block": (4, 4), "hidden": (12,)},
            r"block = \[4, 4\]: larger than the layer of 1 x 12",
        ),
        ({"block": (4, 4)}, r'block = \[4, 4\] needs connections = "block"'),
        ({"connections": "n_of_m"}, 'connections = "n_of_m" needs pattern'),
        ({"cell": "lstm"}, "cell = 'lstm': must be 'gru' or 'tanh'"),
        ({"hidden": (10, 0)}, "hidden = 0: must be greater than or equal to 1"),
        ({"hidden": ()}, r"hidden = \(\): must be a list of at least one number"),
        ({"hidden": 10}, r"hidden = 10: must be a list of at least one number"),
        ({"clip_norm": 0}, "clip_norm = 0: must be greater than 0"),
        ({"time_steps": 5}, "time_steps = 5: must be a divisor of the 12 features"),
        ({"evolution": "cht"}, r'evolution\.strategy = "cht": not with layers that read sequences'),
    ],
)
def test_a_wrong_parameter_is_named(wrong, message):
    X, y = sequences(40)
    with pytest.raises(ParameterError, match=f"SparseRNNClassifier: {message}"):
        SparseRNNClassifier(**(QUICK | wrong)).fit(X.reshape(len(X), -1), y)


def test_sequences_of_another_length_are_refused():
    X, y = sequences(40)
    model = SparseRNNClassifier(**QUICK).fit(X, y)
    with pytest.raises(ParameterError, match="X has 3 steps: expected 6, as in fit"):
        model.predict(X[:, :3])
