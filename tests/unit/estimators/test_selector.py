"""The selector finds what matters, and takes any estimator that knows how much its features do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.tree import DecisionTreeClassifier

from hpc_sparse import SparseFeatureSelector, SparseMLPClassifier, SparseMLPRegressor, load_arrays
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

INFORMATIVE = [3, 17, 40]
QUICK = {"hidden": (48, 48), "epochs": 40, "weight_decay": 0.05, "random_state": 0, "n_jobs": 1}


@pytest.fixture(scope="module")
def needles():
    """Features float32[200, 60] of which three decide the class, by their signs together, and are of small scale."""
    X = np.random.default_rng(2).standard_normal((200, 60)).astype(np.float32)
    X[:, INFORMATIVE] *= 1e-3
    return X, (X[:, INFORMATIVE] > 0).sum(axis=1)


@pytest.mark.parametrize("drop_share", [0.5, 1.0])
def test_it_finds_the_features_that_decide(needles, drop_share):
    X, y = needles
    selector = SparseFeatureSelector(SparseMLPClassifier(**QUICK), n_features_to_select=3, drop_share=drop_share).fit(
        X, y
    )
    assert selector.get_support(indices=True).tolist() == INFORMATIVE
    assert np.array_equal(selector.transform(X), X[:, INFORMATIVE])
    assert sorted(selector.ranking_) == list(range(1, 61))


def test_it_finds_them_in_sparse_samples_and_keeps_these_sparse(needles):
    X, y = needles
    matrix = scipy.sparse.csr_array(np.where(np.abs(X / X.std(axis=0)) > 0.3, X / X.std(axis=0), 0))
    selector = SparseFeatureSelector(SparseMLPClassifier(**QUICK), n_features_to_select=0.05).fit(matrix, y)
    assert selector.get_support(indices=True).tolist() == INFORMATIVE
    assert selector.transform(matrix).format == "csr"


def test_a_given_estimator_keeps_its_seed_and_gets_one_if_it_has_none(needles):
    for own, expected in ((None, 5), (7, 7)):
        model = DecisionTreeClassifier(random_state=own)
        assert SparseFeatureSelector(model, random_state=5).fit(*needles).estimator_.random_state == expected
        assert model.random_state is own


def test_the_default_network_suits_the_target_and_gets_the_seed(needles, monkeypatch):
    monkeypatch.setattr("hpc_sparse.estimators.selector.EPOCHS", 1)
    X, y = needles
    for kind, target in ((SparseMLPClassifier, y), (SparseMLPRegressor, X[:, :2]), (SparseMLPRegressor, X[:, 3])):
        selector = SparseFeatureSelector(n_features_to_select=50, random_state=5).fit(X, target)
        assert type(selector.estimator_) is kind
        assert selector.estimator_.random_state == 5


def test_rounds_drop_the_asked_share_of_what_is_left(needles):
    sizes = []

    class Counted(DecisionTreeClassifier):
        def fit(self, X, y):
            sizes.append(X.shape[1])
            return super().fit(X, y)

    X, y = needles
    model = Counted(random_state=0)
    selector = SparseFeatureSelector(model, n_features_to_select=7, drop_share=0.5).fit(X, y)
    assert sizes == [60, 30, 15]
    assert not hasattr(model, "tree_")
    strengths = selector.estimator_.feature_importances_
    assert set(np.argsort(selector.ranking_)[:15]) == set(np.flatnonzero(selector.ranking_ <= 15))
    last = np.flatnonzero(selector.ranking_ <= 15)
    assert np.array_equal(last[np.argsort(-strengths, kind="stable")], np.argsort(selector.ranking_)[:15])
    assert selector.get_support().sum() == selector.n_features_ == 7


def test_half_of_the_features_stay_unless_told_otherwise(needles):
    assert SparseFeatureSelector(DecisionTreeClassifier()).fit(*needles).get_support().sum() == 30
    everything = SparseFeatureSelector(DecisionTreeClassifier(), n_features_to_select=60).fit(*needles)
    assert everything.get_support().all()


@pytest.mark.parametrize("names", [tuple(f"gene {n}" for n in range(60)), None])
def test_kept_features_have_the_names_of_the_data_set(needles, tmp_path, names):
    samples = Samples(DenseFeatures(needles[0]), needles[1].astype(np.int32))
    write_dataset(tmp_path / "a.h5", samples, samples, title="", class_names=tuple("abcd"), feature_names=names)
    X, y, found, classes = load_arrays(tmp_path / "a.h5", "test")
    np.testing.assert_array_equal(X, needles[0])
    assert (found, classes) == (names, tuple("abcd"))
    selector = SparseFeatureSelector(DecisionTreeClassifier(random_state=0), n_features_to_select=4).fit(X, y)
    numbers = selector.get_support(indices=True)
    expected = [f"x{number}" if names is None else names[number] for number in numbers]
    assert selector.get_feature_names_out(found).tolist() == expected


def test_kept_features_have_the_names_of_the_data_frame(needles):
    frame = pd.DataFrame(needles[0], columns=[f"gene {number}" for number in range(60)])
    selector = SparseFeatureSelector(DecisionTreeClassifier(random_state=0), n_features_to_select=4)
    selector.fit(frame, needles[1])
    expected = [f"gene {number}" for number in selector.get_support(indices=True)]
    assert (
        selector.get_feature_names_out().tolist()
        == expected
        == list(selector.feature_names_in_[selector.get_support()])
    )
