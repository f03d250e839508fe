"""A truly sparse network as scikit-learn's classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import column_or_1d, validate_data

from hpc_sparse.dtypes import INDEX, AnyArray, BoolArray, Float64Array, Int64Array
from hpc_sparse.errors import ParameterError
from hpc_sparse.estimators.base import SparseMLPEstimator
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.objectives.sample_weights import SampleCrossEntropy, with_weights
from hpc_sparse.network.objectives.weighted_cross_entropy import WeightedCrossEntropy


class SparseMLPClassifier(ClassifierMixin, SparseMLPEstimator):
    """Classification by a truly sparse network with softmax outputs and cross-entropy.

    The network is trained as a run trains it, on one rank: mini-batch SGD with momentum while the topology evolves
    between epochs. Parameters have the names of the keys of a run's configuration, and an integer ``random_state`` the
    meaning of ``training.seed``. The same parameters, data and integer give the same bits, on any number of threads.

    Sparse features should be scaled before, as by a ``MaxAbsScaler`` in a pipeline. A weight of a sample multiplies its
    loss: where samples come in batches, a weight of 2 is not quite the same as a sample given twice.

    Parameters
    ----------
    hidden : sequence of int
        Neurons of each hidden layer; empty for a linear model.
    epsilon : float, optional
        SET's sparsity: density of a layer = epsilon (n_in + n_out) / (n_in n_out), at most 1. 20 unless density is set.
    density : float, optional
        Instead of epsilon: the same density for every layer.
    connections : {"csr", "dense", "block", "n_of_m"}
        Storage of the hidden layers' connections.
    pattern : str, optional
        N:M of connections "n_of_m": each neuron is connected to exactly N of each M consecutive inputs.
    block : (int, int), optional
        Of connections "block": neurons of a block in its layer and in the one below, each 1, 4, 8, 16 or 32; (16, 16).
    initial_topology : str
        First connections: "erdos_renyi", "constant_fan_in", "lognormal_fan_in", "small_world", "scale_free" or
        "covering"; or "file:PATH", pairs of features and groups, for the first hidden layer, which has a neuron for
        each group. Features have the names of a data frame's columns, or numbers from 0 on.
    ungrouped_features : {"refuse", "keep"}
        Whether a feature without a group is an error, or stays without connections.
    activation : {"all_relu", "relu", "leaky_relu"}
        Activation of the hidden layers.
    alpha : float
        Slope below zero of all_relu (alternating in sign) and leaky_relu.
    initializer : {"he_uniform", "he_fan_in", "xavier_uniform", "normal"}
        Distribution of initial and grown weights.
    dropout : float
        Share of hidden activations dropped in training.
    epochs : int
        Passes over the training data in one fit.
    batch_size : int or "auto"
        Samples per step; auto takes a twentieth of them, at least 8 and at most 128.
    learning_rate, momentum, nesterov, weight_decay, schedule, warmup_epochs
        Settings of SGD. A schedule runs over the epochs of this fit and those before it.
    evolution : str
        Name of the strategy that changes the topology, such as "set" or "static".
    drop_fraction : float
        Share of the connections replaced each time.
    evolve_every_epochs : int or "auto"
        Epochs from one change of the topology to the next; auto takes as many as make 100 steps.
    standardize : bool
        Dense features: subtract the training samples' mean and divide by their deviation. Sparse ones stay as they are.
    early_stopping : bool
        Hold out ``validation_fraction`` of the samples, stratified. Stop when their loss has not fallen by more than
        ``tol`` for ``n_iter_no_change`` epochs. The network with the least loss is kept.
    validation_fraction, n_iter_no_change, tol
        Settings of early stopping.
    warm_start : bool
        Let ``fit`` go on with the network it finds.
    class_weight : mapping or "balanced", optional
        Weight of each class in the loss.
    random_state : int, RandomState or None
        Seed of all random numbers.
    n_jobs : int, optional
        Threads at most, as in joblib; None for as many as numba uses.

    Attributes
    ----------
    network_ : Network
    classes_ : ndarray of shape (n_classes,)
    n_iter_ : int
        Epochs trained.
    loss_curve_, validation_losses_ : list of float
        By epoch.
    feature_importances_ : float64[n_features]
    n_features_in_, feature_names_in_
        As in every estimator of scikit-learn.
    """

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
            initial_topology=initial_topology,
            ungrouped_features=ungrouped_features,
            activation=activation,
            alpha=alpha,
            initializer=initializer,
            dropout=dropout,
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
            random_state=random_state,
            n_jobs=n_jobs,
        )
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train one epoch on these samples, going on with the network if there is one.

        Every call counts as an epoch: the topology evolves between calls as ``evolve_every_epochs`` says. The first
        call decides on the standardisation. No samples are held out for early stopping.

        Parameters
        ----------
        X, y
            As in :meth:`fit`.
        classes : array-like of shape (n_classes,)
            All classes that may come; needed in the first call only.
        sample_weight : array-like of shape (n_samples,), optional
            Weights in the loss, taken as they are: without, each is 1.

        Raises
        ------
        ParameterError
            A parameter is wrong, classes are missing or others than before, or y has one that is not among them.
        """
        return self._partial_fit(X, y, sample_weight, self._announced(classes))

    def _announced(self, classes: Any) -> AnyArray | None:
        """The classes that a call of ``partial_fit`` names, checked."""
        announced: AnyArray | None = None if classes is None else unique_labels(classes)
        if not hasattr(self, "_state"):
            if announced is None:
                raise ParameterError(f"{type(self).__name__}: classes: must be given in the first call of partial_fit")
        elif announced is not None and not np.array_equal(announced, self.classes_):
            raise ParameterError(f"{type(self).__name__}: classes = {announced}: were {self.classes_} before")
        return announced

    def predict(self, X: Any) -> AnyArray:
        """The most probable class of each sample, of shape (n_samples,)."""
        predicted: AnyArray = self._outputs(X).argmax(axis=1)
        return self.classes_[predicted]

    def predict_proba(self, X: Any) -> Float64Array:
        """Probabilities, float64[n_samples, n_classes], in the order of ``classes_``."""
        probabilities: Float64Array = softmax(self._outputs(X).astype(np.float64), axis=1)
        return probabilities

    def predict_log_proba(self, X: Any) -> Float64Array:
        """Logarithms of the probabilities, float64[n_samples, n_classes]."""
        logarithms: Float64Array = log_softmax(self._outputs(X).astype(np.float64), axis=1)
        return logarithms

    def _validate(self, X: Any, y: Any, **options: Any) -> tuple[Any, AnyArray]:
        X, y = validate_data(self, X, y, **options)
        check_classification_targets(y)
        return X, column_or_1d(y, warn=True)

    def _encode(self, y: AnyArray, *, is_first: bool, is_whole: bool, classes: AnyArray | None = None) -> AnyArray:
        if is_first:
            self.classes_ = np.unique(y) if classes is None else classes
        labels, is_known = _places(self.classes_, y)
        if not np.all(is_known):
            raise ParameterError(
                f"{type(self).__name__}: y has the class {y[np.argmin(is_known)]!r}: must be one of {self.classes_}"
            )
        if is_whole and np.unique(labels).size < self.classes_.size:
            raise ParameterError(
                f"{type(self).__name__}: y has the classes {np.unique(y)}: warm_start = True goes on with a network of "
                f"the classes {self.classes_}; must be the same, or warm_start = False"
            )
        return labels.astype(INDEX)

    def _output_count(self) -> int:
        return int(self.classes_.size)

    def _objective(
        self, targets: AnyArray, weights: Float64Array | None, *, is_whole: bool
    ) -> tuple[Objective, AnyArray]:
        of_classes = self._class_weights(targets, is_whole=is_whole)
        if weights is not None:
            own = weights if of_classes is None else weights * of_classes[targets]
            return SampleCrossEntropy(), with_weights(targets, own)
        return CrossEntropy() if of_classes is None else WeightedCrossEntropy(of_classes), targets

    def _class_weights(self, targets: AnyArray, *, is_whole: bool) -> Float64Array | None:
        """float64[n_classes]; 0 for those without samples if they are to be balanced."""
        if self.class_weight is None:
            return None
        if self.class_weight == "balanced" and not is_whole:
            raise ParameterError(
                f'{type(self).__name__}: class_weight = "balanced": partial_fit cannot count the samples that '
                "will come; must be the weights themselves"
            )
        y = self.classes_[targets]
        if self.class_weight != "balanced":
            given: Float64Array = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
            return given.astype(np.float64)
        present = np.unique(targets)
        weights = np.zeros(self.classes_.size)
        weights[present] = compute_class_weight("balanced", classes=self.classes_[present], y=y)
        return weights

    def _strata(self, targets: AnyArray) -> AnyArray:
        return targets


def _places(classes: AnyArray, y: AnyArray) -> tuple[Int64Array, BoolArray]:
    """int64[n_samples]: the number of each sample's class; and whether it is one of them."""
    none = np.zeros(y.size, np.int64), np.zeros(y.size, np.bool_)
    if {classes.dtype.kind, y.dtype.kind} & {"U"} and {classes.dtype.kind, y.dtype.kind} & set("biuf"):
        return none  # a number is no text, though NumPy would make it one
    try:
        labels = np.searchsorted(classes, y).clip(max=classes.size - 1)
    except TypeError:
        return none
    return labels, classes[labels] == y
