"""scikit-learn's own checks of estimators, every one of them."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from hpc_sparse import SparseFeatureSelector, SparseMLPClassifier, SparseMLPRegressor, SparseRNNClassifier

# Not all checks set the seed, and each is to be the same each time.
QUICK = {"hidden": (32,), "epochs": 5, "random_state": 0, "n_jobs": 1}
LONGER = {"check_classifiers_train": 30, "check_regressors_train": 30}
"""Epochs of the checks that ask how well a network has learned."""

ESTIMATORS = [
    SparseMLPClassifier(**QUICK),
    SparseMLPClassifier(**QUICK, early_stopping=True, validation_fraction=0.3),
    SparseMLPRegressor(**QUICK),
    SparseRNNClassifier(hidden=(12,), epochs=3, random_state=0, n_jobs=1),
    SparseFeatureSelector(SparseMLPClassifier(**QUICK)),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_checks_pass(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else one check is skipped
    if epochs := LONGER.get(check.func.__name__):
        estimator.set_params(**{name: epochs for name in estimator.get_params() if name.split("__")[-1] == "epochs"})
    check(estimator)
