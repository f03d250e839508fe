"""Losses, each with the output activation that belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hpc_sparse.dtypes import AnyArray, Float32Array, Float64Array, Int32Array
from hpc_sparse.kernels import loss as kernels

LossKernel = Callable[[Float32Array, AnyArray, Float32Array], tuple[float, int]]


@dataclass(frozen=True)
class Loss:
    """A loss with its output activation.

    Attributes
    ----------
    name : str
    output : str
        The output activation.
    evaluate : callable
        ``(sums, labels, delta) -> (summed loss, correct predictions)``: see :mod:`hpc_sparse.kernels.loss`. Where the
        outputs are linear, targets float32[n_samples, n_outputs] take the place of the labels.
    is_binary : bool
        For two classes only.
    """

    name: str
    output: str
    evaluate: LossKernel
    is_binary: bool = False

    def n_outputs(self, n_classes: int) -> int:
        """Output neurons for ``n_classes`` classes: one for class 1 of two, else (and with softmax) one per class."""
        return 1 if n_classes == 2 and self.output in {"sigmoid", "tanh"} else n_classes


def _squared_sigmoid(sums: Float32Array, labels: Int32Array, delta: Float32Array) -> tuple[float, int]:
    return kernels.squared_error(sums, labels, False, delta)  # type: ignore[no-any-return]


def _squared_tanh(sums: Float32Array, labels: Int32Array, delta: Float32Array) -> tuple[float, int]:
    return kernels.squared_error(sums, labels, True, delta)  # type: ignore[no-any-return]


def _class_weighted(
    weights: Float64Array, sums: Float32Array, labels: Int32Array, delta: Float32Array
) -> tuple[float, int]:
    return kernels.weighted_cross_entropy(sums, labels, weights, delta)  # type: ignore[no-any-return]


def weighted_cross_entropy(weights: Float64Array) -> Loss:
    """Cross-entropy in which a sample counts as much as its class: ``weights`` float64[n_classes]."""
    return Loss("weighted_cross_entropy", "softmax", partial(_class_weighted, weights))


SQUARED_ERROR = Loss("squared_error", "linear", kernels.squared_deviation)
"""Loss of regressions: the mean squared error over the linear outputs."""

LOSSES = {
    loss.name: loss
    for loss in (
        Loss("cross_entropy", "softmax", kernels.softmax_cross_entropy),
        Loss("binary_cross_entropy", "sigmoid", kernels.sigmoid_cross_entropy, is_binary=True),
        Loss("mse", "sigmoid", _squared_sigmoid),
        Loss("mse_tanh", "tanh", _squared_tanh),
    )
}
"""Losses for class labels by their configuration names.

``mse`` and ``mse_tanh`` are the mean squared error over the outputs.
"""
