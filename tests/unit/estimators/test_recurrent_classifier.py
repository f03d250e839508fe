"""The classifier of sequences: shapes of samples, what it learns, what it refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse import SparseRNNClassifier
from hpc_sparse.errors import ParameterError

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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
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
