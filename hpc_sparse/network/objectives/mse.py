"""Mean squared error of sigmoid outputs with targets 0 and 1."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float64Array
from hpc_sparse.kernels.loss import squared_error
from hpc_sparse.network.objectives.protocol import N_CORRECT, Objective, Outcome, OutputActivation
from hpc_sparse.network.tiles import Tiles


class Mse(Objective):
    """Mean over the outputs of the squared errors; the output of a sample's class is to be 1, all others 0."""

    name: ClassVar[str] = "mse"
    output: ClassVar[OutputActivation] = "sigmoid"

    def evaluate(self, sums: Tiles, targets: AnyArray, delta: Tiles) -> Outcome:
        """Loss, deltas and correct predictions of labels."""
        loss, n_correct = squared_error(sums.values, targets, False, sums.n_neurons, sums.layout, delta.values)
        return Outcome(loss, {N_CORRECT: n_correct})

    def exact_loss(self, sums: Float64Array, targets: AnyArray) -> float:
        """The mean loss in float64."""
        outputs = 0.5 + 0.5 * np.tanh(0.5 * sums)  # the sigmoid, without an exponential that overflows
        return mean_squared_error(outputs, targets, low=0.0)


def mean_squared_error(outputs: Float64Array, labels: AnyArray, *, low: float) -> float:
    """Mean of the squared errors of outputs that are to be 1 for a sample's class, and ``low`` for the others."""
    classes = np.array([[1]]) if outputs.shape[0] == 1 else np.arange(outputs.shape[0])[:, np.newaxis]
    return float(np.mean(np.square(outputs - np.where(labels == classes, 1.0, low))))
