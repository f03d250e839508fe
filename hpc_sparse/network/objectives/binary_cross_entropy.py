"""Binary cross-entropy of one sigmoid output."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float64Array
from hpc_sparse.kernels.loss import sigmoid_cross_entropy
from hpc_sparse.network.objectives.protocol import N_CORRECT, Objective, Outcome, OutputActivation
from hpc_sparse.network.tiles import Tiles


class BinaryCrossEntropy(Objective):
    """Cross-entropy of two classes with one output, the probability of class 1."""

    name: ClassVar[str] = "binary_cross_entropy"
    output: ClassVar[OutputActivation] = "sigmoid"
    is_binary: ClassVar[bool] = True

    def evaluate(self, sums: Tiles, targets: AnyArray, delta: Tiles) -> Outcome:
        """Loss, deltas and correct predictions of labels."""
        loss, n_correct = sigmoid_cross_entropy(sums.values, targets, sums.n_neurons, sums.layout, delta.values)
        return Outcome(loss, {N_CORRECT: n_correct})

    def exact_loss(self, sums: Float64Array, targets: AnyArray) -> float:
        """The mean loss in float64."""
        return float(np.mean(np.logaddexp(0.0, sums[0]) - sums[0] * targets))
