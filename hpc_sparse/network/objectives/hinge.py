"""Hinge loss of several classes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float64Array
from hpc_sparse.kernels.loss import multiclass_hinge
from hpc_sparse.network.objectives.protocol import N_CORRECT, Objective, Outcome, OutputActivation
from hpc_sparse.network.tiles import Tiles


class Hinge(Objective):
    """max(0, 1 + largest sum of another class - own sum), for any number of classes.

    Source: Crammer and Singer 2001. The sums stay what they are; a softmax makes shares of them in predictions.
    """

    name: ClassVar[str] = "hinge"
    output: ClassVar[OutputActivation] = "softmax"

    def evaluate(self, sums: Tiles, targets: AnyArray, delta: Tiles) -> Outcome:
        """Loss, deltas and correct predictions of labels."""
        loss, n_correct = multiclass_hinge(sums.values, targets, sums.n_neurons, sums.layout, delta.values)
        return Outcome(loss, {N_CORRECT: n_correct})

    def exact_loss(self, sums: Float64Array, targets: AnyArray) -> float:
        """The mean loss in float64."""
        columns = np.arange(targets.size)
        own, others = sums[targets, columns], sums.copy()
        others[targets, columns] = -np.inf
        return float(np.mean(np.maximum(0.0, 1.0 + others.max(axis=0) - own)))
