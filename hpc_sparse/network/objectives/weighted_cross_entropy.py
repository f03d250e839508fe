"""Cross-entropy of softmax outputs in which classes count differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float64Array
from hpc_sparse.kernels.loss import weighted_cross_entropy
from hpc_sparse.network.objectives.cross_entropy import losses_of_samples
from hpc_sparse.network.objectives.protocol import N_CORRECT, Objective, Outcome, OutputActivation
from hpc_sparse.network.tiles import Tiles


@dataclass(frozen=True, eq=False)
class WeightedCrossEntropy(Objective):
    """Cross-entropy in which a sample counts as much as its class; correct predictions count alike.

    Attributes
    ----------
    weights : float64[n_classes]
    """

    name: ClassVar[str] = "weighted_cross_entropy"
    output: ClassVar[OutputActivation] = "softmax"

    weights: Float64Array

    def evaluate(self, sums: Tiles, targets: AnyArray, delta: Tiles) -> Outcome:
        """Loss, deltas and correct predictions of labels."""
        loss, n_correct = weighted_cross_entropy(
            sums.values, targets, self.weights, sums.n_neurons, sums.layout, delta.values
        )
        return Outcome(loss, {N_CORRECT: n_correct})

    def exact_loss(self, sums: Float64Array, targets: AnyArray) -> float:
        """The mean loss in float64."""
        return float(np.mean(self.weights[targets] * losses_of_samples(sums, targets)))
