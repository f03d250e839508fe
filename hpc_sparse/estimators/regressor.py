"""A truly sparse network as scikit-learn's regressor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from hpc_sparse.dtypes import VALUE, AnyArray, Float64Array
from hpc_sparse.errors import ArrayError, ParameterError
from hpc_sparse.estimators.arrays import mean_and_deviation
from hpc_sparse.estimators.base import SparseMLPEstimator
from hpc_sparse.estimators.narrowing import check_range
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.objectives.sample_weights import SampleSquaredError, with_weights
from hpc_sparse.network.objectives.squared_error import SquaredError


class SparseMLPRegressor(RegressorMixin, SparseMLPEstimator):
    """Regression by a truly sparse network with linear outputs and the mean squared error, of one or many targets.

    Targets are standardised inside, by their mean and deviation in the first fit, so that their unit has no effect.
    Predictions are in the unit of ``y``.

    Parameters
    ----------
    hidden, epsilon, density, connections, pattern, block, initial_topology, ungrouped_features, activation, alpha
    initializer, dropout, epochs, batch_size
    learning_rate, momentum, nesterov, weight_decay, schedule, warmup_epochs, evolution, drop_fraction
    evolve_every_epochs, standardize, early_stopping, validation_fraction, n_iter_no_change, tol, warm_start
    random_state, n_jobs
        As in :class:`SparseMLPClassifier`; losses are those of standardised targets.

    Attributes
    ----------
    network_ : Network
    n_outputs_ : int
    n_iter_ : int
        Epochs trained.
    loss_curve_, validation_losses_ : list of float
        By epoch.
    feature_importances_ : float64[n_features]
    n_features_in_, feature_names_in_
        As in every estimator of scikit-learn.
    """

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train one epoch on these samples: as :meth:`SparseMLPClassifier.partial_fit`."""
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Float64Array:
        """Predictions, float64 of the shape of ``y``: (n_samples,) or (n_samples, n_outputs)."""
        outputs = self._outputs(X)
        predicted = outputs * self._target_deviation + self._target_mean
        return predicted[:, 0] if self._is_flat else predicted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _validate(self, X: Any, y: Any, **options: Any) -> tuple[Any, AnyArray]:
        checked: tuple[Any, AnyArray] = validate_data(self, X, y, multi_output=True, y_numeric=True, **options)
        return checked

    def _encode(
        self,
        y: AnyArray,
        *,
        is_first: bool,
        is_whole: bool,  # noqa: ARG002
        classes: AnyArray | None = None,  # noqa: ARG002
    ) -> AnyArray:
        columns = y.astype("float64").reshape(y.shape[0], -1)
        if is_first:
            self.n_outputs_, self._is_flat = columns.shape[1], y.ndim == 1
            with np.errstate(over="ignore", invalid="ignore"):
                self._target_mean, self._target_deviation = mean_and_deviation(columns)
            if not (np.isfinite(self._target_mean) & np.isfinite(self._target_deviation)).all():
                raise ArrayError(
                    f"SparseMLPRegressor: y: values up to {np.abs(columns).max():.3g}: are too large to square"
                )
        elif columns.shape[1] != self.n_outputs_:
            raise ParameterError(f"SparseMLPRegressor: y has {columns.shape[1]} columns: had {self.n_outputs_} before")
        targets = (columns - self._target_mean) / self._target_deviation
        check_range("y, standardised", targets)
        return targets.astype(VALUE)

    def _output_count(self) -> int:
        return int(self.n_outputs_)

    def _objective(
        self,
        targets: AnyArray,
        weights: Float64Array | None,
        *,
        is_whole: bool,  # noqa: ARG002
    ) -> tuple[Objective, AnyArray]:
        if weights is None:
            return SquaredError(), targets
        return SampleSquaredError(), with_weights(targets, weights)

    def _strata(self, targets: AnyArray) -> None:  # noqa: ARG002
        return None
