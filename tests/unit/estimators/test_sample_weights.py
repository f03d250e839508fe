"""Weights of single samples in fits and scores."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from hpc_sparse import SparseMLPClassifier, SparseMLPRegressor, SparseRNNClassifier
from hpc_sparse.errors import ArrayError

QUICK = {"hidden": (24,), "epochs": 12, "random_state": 3, "n_jobs": 1, "dropout": 0.0}


def test_a_sample_without_weight_is_not_learned_from(classes):
    X, y = classes
    wrong = np.where(np.arange(130) % 2, y, "ash")
    weights = (wrong == y).astype(float)
    model = SparseMLPClassifier(**QUICK).fit(X, wrong, sample_weight=weights)
    deceived = SparseMLPClassifier(**QUICK).fit(X, wrong)
    assert model.score(X, y) > 0.9 > deceived.score(X, y)
    other = SparseMLPClassifier(**QUICK).fit(X, np.where(weights > 0, y, "cedar"), sample_weight=weights)
    assert np.array_equal(other.predict_proba(X), model.predict_proba(X))
    assert model.score(X, y, weights) == pytest.approx(accuracy_score(y, model.predict(X), sample_weight=weights))


def test_equal_weights_are_none_and_their_unit_does_not_matter(classes):
    X, y = classes
    plain = SparseMLPClassifier(**QUICK).fit(X, y).predict_proba(X)
    assert np.array_equal(SparseMLPClassifier(**QUICK).fit(X, y, np.full(130, 7.0)).predict_proba(X), plain)
    assert np.array_equal(SparseMLPClassifier(**QUICK).fit(X, y, 0.5).predict_proba(X), plain)
    weights = 2.0 ** np.random.default_rng(0).integers(-2, 3, 130)
    both = [SparseMLPClassifier(**QUICK).fit(X, y, scale * weights).predict_proba(X) for scale in (1, 4)]
    assert np.array_equal(*both)
    assert not np.array_equal(both[0], plain)


def test_a_class_weight_is_the_weight_of_its_samples(classes):
    X, y = classes
    of_class = {"ash": 3.0, "birch": 1.0, "cedar": 0.25}
    by_class = SparseMLPClassifier(**QUICK, class_weight=of_class)
    by_sample = SparseMLPClassifier(**QUICK)
    of_samples = np.array([of_class[each] for each in y])
    both = SparseMLPClassifier(**QUICK, class_weight={name: weight**0.5 for name, weight in of_class.items()})
    for model, weights in ((by_class, None), (by_sample, of_samples), (both, of_samples**0.5)):
        model.partial_fit(X, y, classes=np.unique(y), sample_weight=weights)
    np.testing.assert_allclose(by_sample.predict_proba(X), by_class.predict_proba(X), rtol=1e-5)
    np.testing.assert_allclose(both.predict_proba(X), by_class.predict_proba(X), rtol=1e-5)


def test_early_stopping_counts_the_weights_of_what_is_held_out(classes):
    X, y = classes
    weights = np.random.default_rng(0).uniform(0, 1, 130)
    options = {**QUICK, "early_stopping": True, "validation_fraction": 0.3}
    losses = [SparseMLPClassifier(**options).fit(X, y, each).validation_losses_ for each in (weights, None)]
    assert np.isfinite(losses[0]).all()
    assert losses[0][0] != losses[1][0]


def test_a_regression_follows_the_heavier_samples(curve):
    X, y = curve
    y = y[:, 0].copy()
    y[::2] += 5000
    heavy = np.where(np.arange(y.size) % 2, 1.0, 0.001)
    plain, weighted = (SparseMLPRegressor(**QUICK).fit(X, y, weights).predict(X).mean() for weights in (None, heavy))
    assert abs(weighted - y[1::2].mean()) < 600 < abs(plain - y[1::2].mean())
    two = SparseMLPRegressor(**QUICK).fit(X, curve[1], heavy)
    assert two.predict(X).shape == (240, 2)


def test_recurrent_classifiers_take_them_too(classes):
    X, y = classes
    weights = np.linspace(0, 1, 130)
    models = [SparseRNNClassifier((4,), epochs=1, random_state=0, n_jobs=1).fit(X, y, each) for each in (None, weights)]
    assert not np.array_equal(models[0].predict_proba(X), models[1].predict_proba(X))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"sample_weight: shape \(3,\): expected \(130,\)"),
        (np.ones((130, 1)), r"shape \(130, 1\)"),
        (np.where(np.arange(130) == 4, -1.0, 1.0), r"sample_weight\[4\] = -1.0: must be a finite number >= 0"),
        (np.where(np.arange(130) == 4, np.nan, 1.0), r"sample_weight\[4\] = nan"),
        (np.zeros(130), "every weight is zero"),
        (["a"] * 130, "sample_weight: expected numbers"),
    ],
)
def test_wrong_weights_are_refused(classes, weights, message):
    with pytest.raises(ArrayError, match=message):
        SparseMLPClassifier(**QUICK).fit(*classes, sample_weight=weights)
