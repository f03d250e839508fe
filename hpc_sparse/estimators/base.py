"""Base class of the classifier and the regressor."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import joblib
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import AnyArray, Float32Array, Float64Array, Int32Array, Int64Array
from hpc_sparse.errors import ArrayError, ConfigError, DataError, ParameterError
from hpc_sparse.estimators.arrays import fitted_front_end, sample_weights
from hpc_sparse.estimators.fitted import check_settings, fixed_settings, unchanged_on_failure
from hpc_sparse.estimators.narrowing import accepted, find_origin, to_narrow_features
from hpc_sparse.estimators.parameters import Parameters, check_parameters, without_layer
from hpc_sparse.estimators.sequences import with_means
from hpc_sparse.estimators.training import FittedState, fit
from hpc_sparse.importers.initial_topologies import read_topologies
from hpc_sparse.inference.network_pass import NetworkPass
from hpc_sparse.kernels.threads import at_most_threads
from hpc_sparse.network.connections.registry import check_widths
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.storage.dataset.foreign_matrix import checked_matrix, is_sparse
from hpc_sparse.storage.dataset.samples import Samples, take_rows
from hpc_sparse.training.replica_states import random_replica

LARGEST_SEED = (1 << 31) - 1


class SparseMLPEstimator(BaseEstimator, metaclass=ABCMeta):
    """A truly sparse network with scikit-learn's interface; parameters as in :class:`SparseMLPClassifier`."""

    _state: FittedState

    def __init__(
        self,
        hidden: Sequence[int] = (256, 256),
        *,
        epsilon: float | None = None,
        density: float | None = None,
        connections: str = "csr",
        pattern: str | None = None,
        block: tuple[int, int] | None = None,
        initial_topology: str = "erdos_renyi",
        ungrouped_features: Literal["refuse", "keep"] = "refuse",
        activation: Literal["all_relu", "relu", "leaky_relu"] = "all_relu",
        alpha: float = 0.25,
        initializer: Literal["he_uniform", "he_fan_in", "xavier_uniform", "normal"] = "xavier_uniform",
        dropout: float = 0.3,
        epochs: int = 100,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 0.01,
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
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.hidden = hidden
        self.epsilon = epsilon
        self.density = density
        self.connections = connections
        self.pattern = pattern
        self.block = block
        self.initial_topology = initial_topology
        self.ungrouped_features = ungrouped_features
        self.activation = activation
        self.alpha = alpha
        self.initializer = initializer
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup_epochs = warmup_epochs
        self.evolution = evolution
        self.drop_fraction = drop_fraction
        self.evolve_every_epochs = evolve_every_epochs
        self.standardize = standardize
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs

    @property
    def network_(self) -> Network:
        """The trained network."""
        check_is_fitted(self)
        return self._state.replica.network

    @property
    def n_iter_(self) -> int:
        """Epochs trained since the network was made."""
        check_is_fitted(self)
        return self._state.n_epochs

    @property
    def loss_curve_(self) -> list[float]:
        """Mean training loss of each of these epochs, with dropout and before each update."""
        check_is_fitted(self)
        return list(self._state.losses)

    @property
    def validation_losses_(self) -> list[float]:
        """Mean loss of the validation samples after each epoch that early stopping watched."""
        check_is_fitted(self)
        return list(self._state.validation_losses)

    @property
    def feature_importances_(self) -> Float64Array:
        """float64[n_features], summing to 1: the strength of each input neuron, its sum of outgoing |weights|.

        Source: Atashgahi et al. 2022, "Quick and robust feature selection" (Machine Learning 111). Strengths of
        features on different scales do not compare: standardise the features.
        """
        return self._importances()

    def _importances(self) -> Float64Array:
        strength = self.network_.incoming()[0].outgoing_strength()
        total = strength.sum()
        return strength / total if total > 0 else strength

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the network.

        A fit that fails or is interrupted leaves the estimator as it was.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Sparse matrices are never made dense; other formats than CSR are converted to it.
        y : array-like of shape (n_samples,)
            Or (n_samples, n_outputs), for a regressor.
        sample_weight : array-like of shape (n_samples,), optional
            Weights in the loss, here taken relative to their mean.

        Raises
        ------
        ParameterError, ArrayError
            A parameter or an array is wrong; both are a ``ValueError``.
        DivergedError
            The loss or a weight is no longer a finite number.
        """
        with unchanged_on_failure(self):
            return self._fit(X, y, sample_weight, goes_on=bool(self.warm_start) and hasattr(self, "_state"))

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        goes_on: bool,
        is_whole: bool = True,
        classes: AnyArray | None = None,
        lengths: Int32Array | None = None,
    ) -> Self:
        """All epochs, or one where more samples may come; ``classes`` are those that may come.

        ``lengths`` are the steps of each sample that count, where samples are sequences and differ.
        """
        X, y = self._validate(self._checked_matrix(X), y, reset=not goes_on, **accepted(X))
        weights = sample_weights(type(self).__name__, sample_weight, X.shape[0], is_whole=is_whole)
        targets = self._encode(y, is_first=not goes_on, is_whole=is_whole, classes=classes)
        return self._train(X, targets, weights, lengths, goes_on=goes_on, is_whole=is_whole)

    def _partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        classes: AnyArray | None = None,
        lengths: Int32Array | None = None,
    ) -> Self:
        """One epoch on these samples; ``classes`` are those that may come."""
        with unchanged_on_failure(self):
            goes_on = hasattr(self, "_state")
            options: dict[str, Any] = {"classes": classes, "lengths": lengths}
            return self._fit(X, y, sample_weight, goes_on=goes_on, is_whole=False, **options)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_state")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @abstractmethod
    def _validate(self, X: Any, y: Any, **options: Any) -> tuple[Any, AnyArray]:
        """Check X and y as scikit-learn does; ``options`` are those of ``validate_data``."""

    @abstractmethod
    def _encode(self, y: AnyArray, *, is_first: bool, is_whole: bool, classes: AnyArray | None = None) -> AnyArray:
        """Labels or targets for the trainer; on the first call note what they are, or may be."""

    @abstractmethod
    def _output_count(self) -> int:
        """Output neurons."""

    @abstractmethod
    def _objective(
        self, targets: AnyArray, weights: Float64Array | None, *, is_whole: bool
    ) -> tuple[Objective, AnyArray]:
        """The objective to minimise, and what it takes as targets: with a weight of each sample, float64[n_samples].

        ``is_whole`` unless more samples may come.
        """

    @abstractmethod
    def _strata(self, targets: AnyArray) -> AnyArray | None:
        """By what to stratify the validation samples."""

    def _n_places(self) -> int:
        """Steps of each sample, if it is a sequence."""
        return 1

    def _checked_matrix(self, X: Any) -> Any:
        """Samples whose indices, if they are sparse, scikit-learn and SciPy can trust."""
        if np.ma.is_masked(X):
            raise ArrayError(f"{type(self).__name__}: X: masked: expected a value for every feature")
        return checked_matrix("X", X) if is_sparse(X) else X

    def _train(
        self,
        X: Any,
        targets: AnyArray,
        weights: Float64Array | None,
        lengths: Int32Array | None,
        *,
        goes_on: bool,
        is_whole: bool,
    ) -> Self:
        """Train on all of the samples, or with early stopping on those that are not for validation."""
        name = type(self).__name__
        seed = self._state.seed if goes_on else self._new_seed()
        n_before = self._state.n_epochs if goes_on else 0
        n_samples = X.shape[0]
        parameters = self._parameters(n_samples, n_before, seed)
        settings = fixed_settings(self.get_params(deep=False), parameters)
        if goes_on:
            check_settings(name, self._state.settings, settings)
        chosen, held_out = np.arange(n_samples), np.empty(0, np.int64)
        if is_whole and parameters.fit.early_stopping:
            chosen, held_out = self._split(targets, parameters.fit.validation_fraction, seed)
            parameters = self._parameters(chosen.size, n_before, seed)
        if lengths is not None:
            X = with_means(X, lengths, self._n_places())
        is_centred = parameters.config.data.standardize
        origin = self._state.origin if goes_on else find_origin(name, X, is_centred=is_centred)
        features = to_narrow_features(X, origin)
        objective, targets = self._objective(targets, weights, is_whole=is_whole)
        every = Samples(features, targets, lengths)
        samples = every if not held_out.size else _rows(every, chosen)
        with at_most_threads(self._thread_limit()) as n_threads:
            state = self._state.copy() if goes_on else self._new_state(samples, parameters, origin)
            fit(
                state,
                parameters,
                objective,
                samples,
                _rows(every, held_out) if held_out.size else None,
                n_epochs=parameters.fit.epochs if is_whole else 1,
                n_threads=n_threads,
            )
        state.settings = settings
        self._state = state
        return self

    def _parameters(self, n_samples: int, n_epochs: int, seed: int) -> Parameters:
        name = type(self).__name__
        return check_parameters(name, self.get_params(deep=False), n_samples=n_samples, n_epochs=n_epochs, seed=seed)

    def _new_seed(self) -> int:
        """An integer is the seed itself, so that it names the same random streams as ``training.seed`` of a run."""
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(LARGEST_SEED))

    def _new_state(self, samples: Samples, parameters: Parameters, origin: Float64Array | None) -> FittedState:
        config, n_outputs, steps = parameters.config, self._output_count(), self._n_places()
        n_inputs = samples.features.n_features // steps
        try:
            check_widths(config.network, n_inputs)
            replica = random_replica(config, n_inputs, n_outputs, steps, given=self._given(config, n_inputs))
        except (ConfigError, DataError) as error:
            raise ParameterError(f"{type(self).__name__}: {without_layer(str(error))}") from None
        front_end = fitted_front_end(config, samples, n_outputs, steps)
        return FittedState(replica, config.training.seed, front_end, origin=origin)

    def _given(self, config: RunConfig, n_inputs: int) -> dict[int, Topology]:
        """First connections from files, by the number of the layer; features go by the names that X has."""
        paths = {layer: Path(path) for layer, path in config.network.topology_files.items()}
        names = getattr(self, "feature_names_in_", None)
        known = None if names is None else list(map(str, names))
        found = read_topologies(config.network, paths, n_inputs, known, 'ungrouped_features = "keep"')
        return {layer: each.topology for layer, each in found.items()}

    def _split(self, targets: AnyArray, fraction: float, seed: int) -> tuple[Int64Array, Int64Array]:
        """Positions of the samples to train on and of those to validate on."""
        n_samples = targets.shape[0]
        n_held_out = round(fraction * n_samples)
        if not 0 < n_held_out < n_samples:
            raise ParameterError(
                f"{type(self).__name__}: validation_fraction = {fraction}: leaves {n_held_out} of {n_samples} samples "
                "for validation; must leave at least one there and one to train on"
            )
        strata = self._strata(targets)
        if strata is not None:
            counts = np.bincount(strata)
            if counts[counts > 0].min() < 2 or min(n_held_out, n_samples - n_held_out) < np.count_nonzero(counts):
                strata = None
        chosen, held_out = train_test_split(
            np.arange(n_samples), test_size=n_held_out, random_state=seed % (1 << 32), stratify=strata
        )
        return np.sort(chosen), np.sort(held_out)

    def _thread_limit(self) -> int | None:
        """Largest number of threads; None for as many as numba uses."""
        return None if self.n_jobs is None else int(joblib.effective_n_jobs(self.n_jobs))

    def _outputs(self, X: Any, lengths: Int32Array | None = None) -> Float32Array:
        """Weighted sums of the output layer for new samples, float32[n_samples, n_outputs]."""
        check_is_fitted(self)
        X = validate_data(self, self._checked_matrix(X), reset=False, **accepted(X))
        features = to_narrow_features(X, self._state.origin)
        with at_most_threads(self._thread_limit()):
            return NetworkPass(self._state.replica.network, self._state.front_end).outputs(features, lengths)


def _rows(samples: Samples, rows: Int64Array) -> Samples:
    lengths = None if samples.lengths is None else samples.lengths[rows]
    return Samples(take_rows(samples.features, rows), samples.labels[rows], lengths)
