"""scikit-learn's own checks of estimators, every one of them."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from hpc_sparse import SparseFeatureSelector, SparseMLPClassifier, SparseMLPRegressor

# Not all checks set the seed, and each is to be the same each time.
QUICK = {"hidden": (32,), "epochs": 30, "random_state": 0, "n_jobs": 1}
ESTIMATORS = [
    SparseMLPClassifier(**QUICK),
    SparseMLPClassifier(**QUICK, early_stopping=True, validation_fraction=0.3),
    SparseMLPRegressor(**QUICK),
    SparseFeatureSelector(SparseMLPClassifier(**QUICK)),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_checks_pass(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else one check is skipped
    check(estimator)
