"""From the weighted sums of the output layer to classes and their probabilities."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array, Float64Array, Int64Array

LEAST_SUM = -700.0
"""Lower bound of the exponent -|z| of a sigmoid: exp(-700) is still positive in float64."""


def to_classes(sums: Float32Array) -> Int64Array:
    """int64[n_samples]: the class of the largest sum, the first among equals; with one output, 1 where it is above 0.

    ``sums`` is float32[n_samples, n_outputs]. No output activation changes which one is largest.
    """
    if sums.shape[-1] == 1:
        classes: Int64Array = (sums[..., 0] > 0).astype(OFFSET)
    else:
        classes = sums.argmax(axis=-1).astype(OFFSET, copy=False)
    return classes


def to_probabilities(sums: Float32Array, output: str) -> Float32Array:
    """float32[n_samples, n_classes]: shares of the classes, which add up to 1.

    Parameters
    ----------
    sums : float32[n_samples, n_outputs]
    output : {"softmax", "sigmoid", "tanh"}
        The output activation. A single output is the probability of class 1 of two. Several sigmoid or tanh outputs,
        which were trained on squared errors, are brought to 0 to 1 and divided by their sum.
    """
    z = sums.astype(np.float64)
    if output == "softmax":
        shares = np.exp(z - z.max(axis=-1, keepdims=True))
    else:
        shares = _logistic(2 * z if output == "tanh" else z)  # (1 + tanh z) / 2
    if z.shape[-1] == 1:
        shares = np.concatenate([1 - shares, shares], axis=-1)
    probabilities: Float32Array = (shares / shares.sum(axis=-1, keepdims=True)).astype(VALUE)
    return probabilities


def _logistic(z: Float64Array) -> Float64Array:
    """1 / (1 + exp(-z)), never 0: shares can be divided by their sum."""
    small = np.exp(np.maximum(-np.abs(z), LEAST_SUM))
    result: Float64Array = np.where(z >= 0, 1.0, small) / (1.0 + small)
    return result
