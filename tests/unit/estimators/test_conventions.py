"""scikit-learn's own checks of estimators, but for those that no training in batches can pass."""

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


IN_BATCHES = {
    f"check_sample_weight_equivalence_on_{kind}_data": "a batch with a sample twice is another than one with its weight"
    for kind in ("dense", "sparse")
}
"""scikit-learn's own networks fail them as well."""


def expected_failures(estimator):
    return {} if isinstance(estimator, SparseFeatureSelector) else IN_BATCHES


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_scikit_learns_checks_pass(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else one check is skipped
    if epochs := LONGER.get(check.func.__name__):
        estimator.set_params(**{name: epochs for name in estimator.get_params() if name.split("__")[-1] == "epochs"})
    check(estimator)
