"""Cross-entropy of softmax outputs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float64Array
from hpc_sparse.kernels.loss import softmax_cross_entropy, softmax_cross_entropy_of_places
from hpc_sparse.network.objectives.protocol import N_CORRECT, Objective, Outcome, OutputActivation
from hpc_sparse.network.tiles import Tiles


class CrossEntropy(Objective):
    """Cross-entropy, for any number of classes."""

    name: ClassVar[str] = "cross_entropy"
    output: ClassVar[OutputActivation] = "softmax"
    takes_places: ClassVar[bool] = True

    def evaluate(self, sums: Tiles, targets: AnyArray, delta: Tiles) -> Outcome:
        """Loss, deltas and correct predictions of labels, of samples or of their places."""
        kernel = softmax_cross_entropy if targets.ndim == 1 else softmax_cross_entropy_of_places
        loss, n_correct = kernel(sums.values, targets, sums.n_neurons, sums.layout, delta.values)
        return Outcome(loss, {N_CORRECT: n_correct})

    def exact_loss(self, sums: Float64Array, targets: AnyArray) -> float:
        """The mean loss in float64."""
        labels = targets.T.reshape(-1)
        counts = labels >= 0
        return float(np.mean(losses_of_samples(sums[:, counts], labels[counts])))


def losses_of_samples(sums: Float64Array, labels: AnyArray) -> Float64Array:
    """float64[n_samples]: the cross-entropy of each sample."""
    from scipy.special import logsumexp  # noqa: PLC0415 - it takes 40 ms, and debugging runs alone check gradients

    losses: Float64Array = logsumexp(sums, axis=0) - sums[labels, np.arange(labels.size)]
    return losses
