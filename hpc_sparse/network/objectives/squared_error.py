"""Squared error of linear outputs: regression."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float64Array
from hpc_sparse.kernels.loss import squared_deviation
from hpc_sparse.network.objectives.protocol import Objective, Outcome, OutputActivation
from hpc_sparse.network.tiles import Tiles


class SquaredError(Objective):
    """Mean over the outputs of the squared errors; the targets are values, and nothing is correct or wrong."""

    name: ClassVar[str] = "squared_error"
    output: ClassVar[OutputActivation] = "linear"

    def evaluate(self, sums: Tiles, targets: AnyArray, delta: Tiles) -> Outcome:
        """Loss and deltas of values, float32[n_samples, n_outputs]."""
        loss, _ = squared_deviation(sums.values, targets, sums.n_neurons, sums.layout, delta.values)
        return Outcome(loss, {})

    def exact_loss(self, sums: Float64Array, targets: AnyArray) -> float:
        """The mean loss in float64."""
        return float(np.mean(np.square(sums - targets.T)))
