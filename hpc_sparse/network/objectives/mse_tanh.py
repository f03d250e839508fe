"""Mean squared error of tanh outputs with targets -1 and 1."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float64Array
from hpc_sparse.kernels.loss import squared_error
from hpc_sparse.network.objectives.mse import mean_squared_error
from hpc_sparse.network.objectives.protocol import N_CORRECT, Objective, Outcome, OutputActivation
from hpc_sparse.network.tiles import Tiles


class MseTanh(Objective):
    """Mean over the outputs of the squared errors; the output of a sample's class is to be 1, all others -1."""

    name: ClassVar[str] = "mse_tanh"
    output: ClassVar[OutputActivation] = "tanh"

    def evaluate(self, sums: Tiles, targets: AnyArray, delta: Tiles) -> Outcome:
        """Loss, deltas and correct predictions of labels."""
        loss, n_correct = squared_error(sums.values, targets, True, sums.n_neurons, sums.layout, delta.values)
        return Outcome(loss, {N_CORRECT: n_correct})

    def exact_loss(self, sums: Float64Array, targets: AnyArray) -> float:
        """The mean loss in float64."""
        return mean_squared_error(np.tanh(sums), targets, low=-1.0)
