"""The state of an estimator changes at the end of a fit, whole; or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse import SparseFeatureSelector, SparseMLPClassifier, SparseMLPRegressor, SparseRNNClassifier
from hpc_sparse.errors import DivergedError, ParameterError
from hpc_sparse.training.local_trainer import LocalTrainer

QUICK = {"hidden": (12,), "epochs": 3, "random_state": 3, "n_jobs": 1}


def interrupt(monkeypatch, epoch):
    """Have the user press control and C when an epoch begins."""
    train = LocalTrainer.train_epoch

    def train_or_stop(self, number, *rest):
        if number >= epoch:
            raise KeyboardInterrupt
        return train(self, number, *rest)

    monkeypatch.setattr(LocalTrainer, "train_epoch", train_or_stop)


def test_a_second_fit_that_fails_or_is_interrupted_leaves_the_first(classes, monkeypatch):
    X, y = classes
    model = SparseMLPClassifier(**QUICK).fit(X, y)
    expected, named = model.predict_proba(X), model.classes_
    wider = np.hstack([X, X])
    with pytest.raises(DivergedError):
        model.set_params(learning_rate=1e30).fit(wider, np.arange(130) % 5)
    interrupt(monkeypatch, epoch=2)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(learning_rate=0.01).fit(wider, np.arange(130) % 5)
    assert np.array_equal(model.classes_, named)
    assert (model.n_features_in_, model.n_iter_) == (7, 3)
    assert np.array_equal(model.predict_proba(X), expected)


@pytest.mark.parametrize(
    "keys",
    [{"connections": "csr"}, {"connections": "n_of_m", "pattern": "2:4"}, {"connections": "block", "block": (4, 4)}],
)
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_going_on_with_a_network_that_diverges_leaves_the_last_good_one(classes, call, keys):
    X, y = np.hstack([classes[0], classes[0][:, :1]]), classes[1]
    options = {**QUICK, **keys, "evolve_every_epochs": 1}
    model = SparseMLPClassifier(**options, warm_start=True).fit(X, y)
    expected, losses = model.predict_proba(X), model.loss_curve_
    with pytest.raises(DivergedError):
        getattr(model.set_params(learning_rate=1e30), call)(X, y)
    assert np.array_equal(model.predict_proba(X), expected)
    assert model.loss_curve_ == losses
    again = SparseMLPClassifier(**options, warm_start=True).fit(X, y)
    for each in (model.set_params(learning_rate=0.01), again):
        getattr(each, call)(X, y)
    assert np.array_equal(model.predict_proba(X), again.predict_proba(X))


def test_an_interrupted_warm_start_leaves_the_network_before_it(classes, monkeypatch):
    X, y = classes
    model = SparseMLPClassifier(**QUICK, warm_start=True).fit(X, y)
    expected = model.predict_proba(X)
    interrupt(monkeypatch, epoch=5)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.n_iter_ == 3
    assert np.array_equal(model.predict_proba(X), expected)


def test_a_first_fit_that_fails_leaves_nothing(classes):
    X, y = classes
    for model in (SparseMLPClassifier(**QUICK, learning_rate=1e30), SparseMLPRegressor(**QUICK, learning_rate=1e30)):
        before = dict(vars(model))
        with pytest.raises(DivergedError):
            model.fit(X, np.unique(y, return_inverse=True)[1])
        assert vars(model) == before
    selector = SparseFeatureSelector(SparseMLPClassifier(**QUICK)).fit(X, y)
    ranking = selector.ranking_.copy()
    with pytest.raises(DivergedError):
        selector.set_params(estimator__learning_rate=1e30).fit(X[:, ::-1], y)
    assert np.array_equal(selector.ranking_, ranking)
    with pytest.raises(DivergedError):
        SparseRNNClassifier((4,), epochs=1, learning_rate=1e38, clip_norm=None).fit(X * 1e18, y)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden": (8, 8)}, r"hidden = \[8, 8\]: the network that this fit goes on with was made with \[12\]"),
        ({"density": 0.5}, r"density = 0.5: .* was made with None"),
        ({"activation": "relu"}, r"activation = 'relu': .* was made with 'all_relu'"),
        ({"standardize": False}, "standardize = False: .* was made with True"),
    ],
)
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_network_does_not_go_on_as_another_one(classes, call, changed, message):
    X, y = classes
    model = SparseMLPClassifier(**QUICK, warm_start=True).fit(X, y).set_params(**changed)
    with pytest.raises(ParameterError, match=message):
        getattr(model, call)(X, y)
    assert model.set_params(warm_start=False).fit(X, y).n_iter_ == 3


@pytest.mark.parametrize(("first", "second"), [("set", "deep_r"), ("deep_r", "set"), ("set", "rigl")])
def test_a_warm_start_may_have_another_strategy(classes, first, second):
    X, y = classes
    model = SparseMLPClassifier(**QUICK, warm_start=True, evolve_every_epochs=1, evolution=first).fit(X, y)
    assert model.set_params(evolution=second).fit(X, y).n_iter_ == 6


def test_a_warm_start_needs_the_same_classes(classes):
    X, y = classes
    model = SparseMLPClassifier(**QUICK, warm_start=True).fit(X, y)
    with pytest.raises(ParameterError, match=r"y has the classes \['ash' 'birch'\]: .*'cedar'"):
        model.fit(X[y != "cedar"], y[y != "cedar"])
    recurrent = SparseRNNClassifier((4,), time_steps=7, epochs=1, warm_start=True).fit(X, y)
    with pytest.raises(ParameterError, match="steps"):
        recurrent.set_params(time_steps=1).fit(X, y)


def test_class_weights_may_name_a_class_that_is_not_in_the_batch(classes):
    X, y = classes
    model = SparseMLPClassifier(**QUICK, class_weight={"ash": 2.0, "birch": 1.0, "cedar": 0.5})
    model.partial_fit(X[y != "birch"], y[y != "birch"], classes=np.unique(y))
    with pytest.raises(ValueError, match="are not in class_weight"):
        model.set_params(class_weight={"oak": 2.0}).partial_fit(X, y)
