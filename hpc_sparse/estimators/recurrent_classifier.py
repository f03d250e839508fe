"""A truly sparse recurrent network as scikit-learn's classifier of sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from hpc_sparse.dtypes import AnyArray, Float32Array, Float64Array, Int32Array
from hpc_sparse.errors import ParameterError
from hpc_sparse.estimators.classifier import SparseMLPClassifier
from hpc_sparse.estimators.fitted import unchanged_on_failure
from hpc_sparse.estimators.parameters import Parameters, check_parameters
from hpc_sparse.estimators.sequences import WHOLE, as_sequences, without_rest


class SparseRNNClassifier(SparseMLPClassifier):
    """Classification of sequences by a truly sparse recurrent network; its last state leads to softmax outputs.

    Samples are a NumPy array [n_samples, n_steps, n_features]. Of two dimensions, each feature is a step unless
    ``time_steps`` says otherwise. Sparse matrices are taken as well. Sequences of different lengths are a list of
    arrays [n_steps, n_features], or arrays with ``lengths``; the last state that counts is that of a sequence's own
    last step. Later samples may have fewer steps than those of the first fit, but not more.

    Parameters
    ----------
    hidden : sequence of int
        Neurons of each recurrent layer.
    cell : {"gru", "tanh"}
        Cell of these layers.
    time_steps : int, optional
        Steps of the samples of a two-dimensional X: each has an equal part of the features, in their order. Of a list:
        the most steps that a sequence may have, by default those of the longest.
    clip_norm : float, optional
        Largest norm of the gradient.
    connections, pattern, block
        Of both maps of each layer, as in :class:`SparseMLPClassifier`; the sides of a block divide ``hidden``.
    epsilon, density, initializer, epochs, batch_size, learning_rate, momentum, nesterov, weight_decay, schedule, \
warmup_epochs, evolution, drop_fraction, evolve_every_epochs, standardize, early_stopping, validation_fraction, \
n_iter_no_change, tol, warm_start, class_weight, random_state, n_jobs
        As in :class:`SparseMLPClassifier`.

    Attributes
    ----------
    n_steps_ : int
        Steps of a sample.
    network_, classes_, n_iter_, loss_curve_, validation_losses_, n_features_in_, feature_names_in_
        As in :class:`SparseMLPClassifier`; features are those of all steps.
    feature_importances_ : float64[n_features]
        All steps have the same.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (64,),
        *,
        cell: Literal["gru", "tanh"] = "gru",
        time_steps: int | None = None,
        clip_norm: float | None = 5.0,
        connections: str = "csr",
        pattern: str | None = None,
        block: tuple[int, int] | None = None,
        epsilon: float | None = None,
        density: float | None = None,
        initializer: Literal["he_uniform", "he_fan_in", "xavier_uniform", "normal"] = "he_fan_in",
        epochs: int = 100,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 0.05,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        schedule: Literal["constant", "step", "cosine"] = "constant",
        warmup_epochs: int = 0,
        evolution: str = "set",
        drop_fraction: float = 0.3,
        evolve_every_epochs: int | Literal["auto"] = "auto",
        standardize: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            hidden,
            epsilon=epsilon,
            density=density,
            connections=connections,
            pattern=pattern,
            block=block,
            initializer=initializer,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            schedule=schedule,
            warmup_epochs=warmup_epochs,
            evolution=evolution,
            drop_fraction=drop_fraction,
            evolve_every_epochs=evolve_every_epochs,
            standardize=standardize,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            class_weight=class_weight,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        self.cell = cell
        self.time_steps = time_steps
        self.clip_norm = clip_norm

    def _importances(self) -> Float64Array:
        """Those of the inputs of a step, for all steps alike."""
        return np.tile(super()._importances(), self.n_steps_) / self.n_steps_

    def fit(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_steps, n_features), list of arrays, or as in :class:`SparseMLPClassifier`
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional
            As in :class:`SparseMLPClassifier`.
        lengths : array-like of int of shape (n_samples,), optional
            Steps of each sample that count, the first ones; what lies beyond them does not matter. Not with a list.

        Raises
        ------
        ParameterError, ArrayError
            A parameter or an array is wrong, or X has another number of steps; both are a ``ValueError``.
        DivergedError
            The loss or a weight is no longer a finite number.
        """
        with unchanged_on_failure(self):
            goes_on = bool(self.warm_start) and hasattr(self, "_state")
            flat, own = self._flat(X, lengths, is_first=not goes_on)
            return self._fit(flat, y, sample_weight, goes_on=goes_on, lengths=own)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None, lengths: Any = None) -> Self:
        """Train one epoch on these samples: as in :class:`SparseMLPClassifier`; ``lengths`` as in :meth:`fit`.

        The first call decides on the steps: no later sample may have more.
        """
        with unchanged_on_failure(self):
            flat, own = self._flat(X, lengths, is_first=not hasattr(self, "_state"))
            return self._partial_fit(flat, y, sample_weight, self._announced(classes), own)

    def predict(self, X: Any, lengths: Any = None) -> AnyArray:
        """The most probable class of each sample, of shape (n_samples,); ``lengths`` as in :meth:`fit`."""
        predicted: AnyArray = self._sums(X, lengths).argmax(axis=1)
        return self.classes_[predicted]

    def predict_proba(self, X: Any, lengths: Any = None) -> Float64Array:
        """Probabilities, float64[n_samples, n_classes], in the order of ``classes_``."""
        probabilities: Float64Array = softmax(self._sums(X, lengths).astype(np.float64), axis=1)
        return probabilities

    def predict_log_proba(self, X: Any, lengths: Any = None) -> Float64Array:
        """Logarithms of the probabilities, float64[n_samples, n_classes]."""
        logarithms: Float64Array = log_softmax(self._sums(X, lengths).astype(np.float64), axis=1)
        return logarithms

    def score(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> float:
        """The share of samples, by their weights, whose class is predicted."""
        return float(accuracy_score(y, self.predict(X, lengths), sample_weight=sample_weight))

    def _sums(self, X: Any, lengths: Any) -> Float32Array:
        check_is_fitted(self)
        flat, own = self._flat(X, lengths, is_first=False)
        return self._outputs(flat, own)

    def _flat(self, X: Any, lengths: Any, *, is_first: bool) -> tuple[Any, Int32Array | None]:
        """Samples with the features of all steps one after the other; the first ones decide on the steps."""
        name = type(self).__name__
        found = as_sequences(name, X, lengths, self.time_steps if is_first else self.n_steps_, is_first=is_first)
        steps = found.n_steps if is_first or getattr(X, "ndim", 0) == WHOLE else self.time_steps
        if is_first:
            self._steps_given = steps
        elif steps is not None and steps != self.n_steps_:
            raise ParameterError(f"{name}: X has {steps} steps: expected {self.n_steps_}, as in fit")
        return without_rest(found.X, found.lengths, found.n_steps), found.lengths

    def _validate(self, X: Any, y: Any, **options: Any) -> tuple[Any, AnyArray]:
        X, y = super()._validate(X, y, **options)
        if options.get("reset", True):
            self.n_steps_ = self._divisor(int(X.shape[1]))
        return X, y

    def _divisor(self, n_features: int) -> int:
        steps: Any = n_features if self._steps_given is None else self._steps_given
        if not isinstance(steps, (int, np.integer)) or steps < 1 or n_features % steps:
            raise ParameterError(
                f"{type(self).__name__}: time_steps = {steps!r}: must be a divisor of the {n_features} features"
            )
        return int(steps)

    def _parameters(self, n_samples: int, n_epochs: int, seed: int) -> Parameters:
        name, values = type(self).__name__, self.get_params(deep=False)
        sizes = {"n_samples": n_samples, "n_epochs": n_epochs, "seed": seed}
        return check_parameters(name, values, **sizes, layers=_layers(name, self.hidden, self.cell))

    def _n_places(self) -> int:
        return self.n_steps_


def _layers(name: str, hidden: Any, cell: Any) -> list[dict[str, Any]]:
    """The tables of the recurrent layers; what is wrong in them is said where they are checked."""
    if not isinstance(hidden, (Sequence, np.ndarray)) or not len(hidden):
        raise ParameterError(f"{name}: hidden = {hidden!r}: must be a list of at least one number, such as [64]")
    outputs = ["all"] * (len(hidden) - 1) + ["last"]
    return [
        {"kind": "recurrent", "n": width, "cell": cell, "output": output}
        for width, output in zip(hidden, outputs, strict=True)
    ]
