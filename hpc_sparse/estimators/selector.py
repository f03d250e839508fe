"""Feature selection by the strength of a sparse network's input neurons."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from hpc_sparse.dtypes import BoolArray, Int64Array
from hpc_sparse.errors import ParameterError
from hpc_sparse.estimators.classifier import SparseMLPClassifier
from hpc_sparse.estimators.fitted import unchanged_on_failure
from hpc_sparse.estimators.narrowing import accepted
from hpc_sparse.estimators.regressor import SparseMLPRegressor
from hpc_sparse.storage.dataset.foreign_matrix import checked_matrix, is_sparse

EPOCHS, WEIGHT_DECAY = 40, 0.05
"""Settings of the default estimator: important features show early, and decay weakens unused connections."""


class SparseFeatureSelector(SelectorMixin, MetaEstimatorMixin, BaseEstimator):
    """Selector of the features whose input neurons are strongest in truly sparse networks trained to predict ``y``.

    The strength of an input neuron is the sum of the absolute weights of its connections. Evolution drops weak
    connections and grows others anywhere, so that informative inputs gather connections and others lose them. A network
    with many uninformative features overfits to them. In each round the weakest features are therefore removed and a
    new network is trained, until ``n_features_to_select`` are left.

    Sources: neuron strength as in Atashgahi et al. 2022, "Quick and robust feature selection" (Machine Learning 111),
    which trains one autoencoder. Gradual removal as in Atashgahi et al. 2023, "Supervised feature selection with neuron
    evolution in sparse neural networks" (TMLR), which removes inputs while one network is trained.

    Parameters
    ----------
    estimator : estimator, optional
        Trained to get ``feature_importances_``. By default a SparseMLPClassifier, or for continuous ``y`` a
        SparseMLPRegressor, with 40 epochs and a weight decay of 0.05.
    n_features_to_select : int or float, optional
        Number of features, or a fraction below 1; None for a half.
    drop_share : float
        Fraction of the features removed in every round, above 0 and at most 1; 1 for a single round.
    random_state : int, RandomState or None
        Seed of the estimator, unless that has one.

    Attributes
    ----------
    estimator_ : estimator
        As trained in the last round.
    ranking_ : int64[n_features]
        1 for the feature that is strongest in the last round, and so on; features removed first have the last ranks.
    n_features_ : int
        Features that are kept: those of rank 1 to ``n_features_``.
    n_features_in_, feature_names_in_
        As in every estimator of scikit-learn.

    Notes
    -----
    ``get_feature_names_out`` names the selected features by the columns of the data frame in ``fit``. For a data set
    file, pass its names::

        X, y, names, _ = hpc_sparse.load_arrays("data.h5")
        SparseFeatureSelector().fit(X, y).get_feature_names_out(names)
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_features_to_select: float | None = None,
        drop_share: float = 0.3,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.n_features_to_select = n_features_to_select
        self.drop_share = drop_share
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train the networks and rank the features.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)

        Raises
        ------
        ParameterError, ArrayError
            A parameter or an array is wrong; both are a ``ValueError``.
        """
        with unchanged_on_failure(self):
            return self._fit(_checked(X), y)

    def transform(self, X: Any) -> Any:
        """The selected features of samples, array-like or sparse matrix of shape (n_samples, n_features)."""
        return super().transform(_checked(X))

    def inverse_transform(self, X: Any) -> Any:
        """Samples with all features, from those that :meth:`transform` gives; 0 for what was left out."""
        return super().inverse_transform(_checked(X))

    def _fit(self, X: Any, y: Any) -> Self:
        X, y = validate_data(self, X, y, multi_output=True, **accepted(X))
        n_kept = self._kept_count(X.shape[1])
        share = self._checked_share()
        self.ranking_: Int64Array = np.empty(X.shape[1], np.int64)
        remaining = np.arange(X.shape[1])
        while True:
            self.estimator_ = self._new_estimator(y).fit(X[:, remaining], y)
            order = remaining[np.argsort(-self.estimator_.feature_importances_, kind="stable")]
            self.ranking_[order] = np.arange(1, order.size + 1)
            n_left = max(n_kept, int((1 - share) * order.size))
            if n_left == n_kept:
                break
            remaining = np.sort(order[:n_left])
        self.n_features_ = n_kept
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags

    def _get_support_mask(self) -> BoolArray:
        check_is_fitted(self)
        is_kept: BoolArray = self.ranking_ <= self.n_features_
        return is_kept

    def _new_estimator(self, y: Any) -> Any:
        if self.estimator is None:
            kind = SparseMLPRegressor if type_of_target(y).startswith("continuous") else SparseMLPClassifier
            return kind(epochs=EPOCHS, weight_decay=WEIGHT_DECAY, random_state=self.random_state)
        estimator = clone(self.estimator)
        if estimator.get_params(deep=False).get("random_state", 0) is None:
            estimator.set_params(random_state=self.random_state)
        return estimator

    def _kept_count(self, n_features: int) -> int:
        """Number of features to keep, at least one."""
        asked: Any = 0.5 if self.n_features_to_select is None else self.n_features_to_select
        if isinstance(asked, (int, np.integer)) and asked is not True and 1 <= asked <= n_features:
            return int(asked)
        if isinstance(asked, (float, np.floating)) and 0 < asked < 1:
            return max(1, int(asked * n_features))
        raise ParameterError(
            f"SparseFeatureSelector: n_features_to_select = {asked!r}: must be a number of features from 1 to "
            f"{n_features}, or a share above 0 and below 1"
        )

    def _checked_share(self) -> float:
        share: Any = self.drop_share
        if isinstance(share, (int, float, np.integer, np.floating)) and 0 < share <= 1:
            return float(share)
        raise ParameterError(f"SparseFeatureSelector: drop_share = {share!r}: must be above 0 and at most 1")


def _checked(X: Any) -> Any:
    """Samples whose indices, if they are sparse, scikit-learn and SciPy can trust."""
    return checked_matrix("X", X) if is_sparse(X) else X
