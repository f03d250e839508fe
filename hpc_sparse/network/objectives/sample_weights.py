"""Objectives of samples that count differently; the weights come with the targets."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float64Array
from hpc_sparse.kernels.sample_loss import sample_cross_entropy, sample_squared_deviation
from hpc_sparse.network.objectives.cross_entropy import losses_of_samples
from hpc_sparse.network.objectives.protocol import N_CORRECT, Objective, Outcome, OutputActivation
from hpc_sparse.network.tiles import Tiles

TARGET, WEIGHT = "target", "weight"
"""Fields of a target with a weight."""


def with_weights(targets: AnyArray, weights: Float64Array) -> AnyArray:
    """Targets, one row or number per sample, each with its weight: a structured array [n_samples].

    Parameters
    ----------
    targets : int32[n_samples] or float32[n_samples, n_outputs]
    weights : float64[n_samples]
    """
    fields = [(TARGET, targets.dtype, targets.shape[1:]), (WEIGHT, np.float64)]
    both = np.empty(targets.shape[0], fields)
    both[TARGET], both[WEIGHT] = targets, weights
    return both


class SampleCrossEntropy(Objective):
    """Cross-entropy of softmax outputs in which a sample counts as much as its weight; correct predictions alike."""

    name: ClassVar[str] = "sample_cross_entropy"
    output: ClassVar[OutputActivation] = "softmax"

    def evaluate(self, sums: Tiles, targets: AnyArray, delta: Tiles) -> Outcome:
        """Loss, deltas and correct predictions of labels with weights."""
        labels, weights = _parts(targets)
        loss, n_correct = sample_cross_entropy(sums.values, labels, weights, sums.n_neurons, sums.layout, delta.values)
        return Outcome(loss, {N_CORRECT: n_correct})

    def exact_loss(self, sums: Float64Array, targets: AnyArray) -> float:
        """The mean loss in float64."""
        return float(np.mean(targets[WEIGHT] * losses_of_samples(sums, targets[TARGET])))


class SampleSquaredError(Objective):
    """Mean over the outputs of the squared errors, in which a sample counts as much as its weight."""

    name: ClassVar[str] = "sample_squared_error"
    output: ClassVar[OutputActivation] = "linear"

    def evaluate(self, sums: Tiles, targets: AnyArray, delta: Tiles) -> Outcome:
        """Loss and deltas of values with weights."""
        values, weights = _parts(targets)
        loss = sample_squared_deviation(sums.values, values, weights, sums.n_neurons, sums.layout, delta.values)
        return Outcome(loss, {})

    def exact_loss(self, sums: Float64Array, targets: AnyArray) -> float:
        """The mean loss in float64."""
        errors = np.square(sums - targets[TARGET].T).mean(axis=0)
        return float(np.mean(targets[WEIGHT] * errors))


def _parts(targets: AnyArray) -> tuple[AnyArray, Float64Array]:
    return np.ascontiguousarray(targets[TARGET]), np.ascontiguousarray(targets[WEIGHT])
