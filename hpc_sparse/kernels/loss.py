"""From the output layer's weighted sums to loss, correct predictions and deltas, in one pass over the batch.

Small work (classes x batch), so not spread over threads; sums are float64.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def softmax_cross_entropy(sums, labels, delta):
    """Softmax outputs with cross-entropy.

    Parameters
    ----------
    sums : float32[n_classes, stride]
        Weighted sums of the output layer; overwritten with the class probabilities.
    labels : int32[n_samples]
    delta : float32[n_classes, stride]
        Overwritten with the derivative of the mean loss by ``sums``; 0 beyond ``n_samples``.

    Returns
    -------
    loss : float
        Summed over the batch.
    n_correct : int
        Samples whose largest probability (the first among equals) is their label's.
    """
    loss, n_correct = 0.0, 0
    delta[:, labels.size :] = np.float32(0)
    for c in range(labels.size):
        own_loss, is_correct = _softmax_column(sums, c, labels[c], labels.size, 1.0, delta)
        loss += own_loss
        n_correct += is_correct
    return loss, n_correct


@njit(cache=True, nogil=True)
def weighted_cross_entropy(sums, labels, weights, delta):
    """As :func:`softmax_cross_entropy`, each sample's loss multiplied by the weight of its class.

    ``weights`` float64[n_classes]; correct predictions are counted without weights.
    """
    loss, n_correct = 0.0, 0
    delta[:, labels.size :] = np.float32(0)
    for c in range(labels.size):
        weight = weights[labels[c]]
        own_loss, is_correct = _softmax_column(sums, c, labels[c], labels.size, weight, delta)
        loss += weight * own_loss
        n_correct += is_correct
    return loss, n_correct


@njit(cache=True, nogil=True)
def sigmoid_cross_entropy(sums, labels, delta):
    """One sigmoid output with binary cross-entropy; arguments and results as in :func:`softmax_cross_entropy`.

    ``sums`` is overwritten with the probability of class 1.
    """
    n_samples = labels.size
    loss, n_correct = 0.0, 0
    delta[:, n_samples:] = np.float32(0)
    for c in range(n_samples):
        z, label = np.float64(sums[0, c]), labels[c]
        loss += max(z, 0.0) - z * label + math.log1p(math.exp(-abs(z)))
        n_correct += (z > 0.0) == (label == 1)
        p = _sigmoid(z)
        sums[0, c] = p
        delta[0, c] = (p - label) / n_samples
    return loss, n_correct


@njit(cache=True, nogil=True)
def squared_error(sums, labels, is_tanh, delta):
    """Sigmoid (targets 0, 1) or tanh (targets -1, 1) outputs with the mean of the squared errors.

    One output stands for class 1 of two; else there is one output per class, whose target is high for the
    sample's class. ``sums`` is overwritten with the outputs; the rest is as in :func:`softmax_cross_entropy`.
    """
    n_outputs, n_samples = sums.shape[0], labels.size
    low, high, middle = (-1.0, 1.0, 0.0) if is_tanh else (0.0, 1.0, 0.5)
    loss, n_correct = 0.0, 0
    delta[:, n_samples:] = np.float32(0)
    for c in range(n_samples):
        label, best = labels[c], 0
        for j in range(n_outputs):
            z = np.float64(sums[j, c])
            y = math.tanh(z) if is_tanh else _sigmoid(z)
            slope = 1.0 - y * y if is_tanh else y * (1.0 - y)
            is_high = label == 1 if n_outputs == 1 else label == j
            error = y - (high if is_high else low)
            loss += error * error / n_outputs
            sums[j, c] = y
            delta[j, c] = 2.0 * error * slope / (n_outputs * n_samples)
            if sums[j, c] > sums[best, c]:
                best = j
        n_correct += (sums[0, c] > middle) == (label == 1) if n_outputs == 1 else best == label
    return loss, n_correct


@njit(cache=True, nogil=True)
def squared_deviation(sums, targets, delta):
    """Linear outputs with the mean over the outputs of the squared errors: regression.

    Parameters
    ----------
    sums : float32[n_outputs, stride]
        Weighted sums of the output layer, which are the outputs; unchanged.
    targets : float32[n_samples, n_outputs]
    delta : float32[n_outputs, stride]
        Overwritten with the derivative of the mean loss by ``sums``; 0 beyond ``n_samples``.

    Returns
    -------
    loss : float
        Summed over the batch.
    n_correct : int
        Always 0: there are no classes.
    """
    n_samples, n_outputs = targets.shape
    loss = 0.0
    delta[:, n_samples:] = np.float32(0)
    for j in range(n_outputs):
        for c in range(n_samples):
            error = np.float64(sums[j, c]) - targets[c, j]
            loss += error * error / n_outputs
            delta[j, c] = 2.0 * error / (n_outputs * n_samples)
    return loss, 0


@njit(inline="always")
def _softmax_column(sums, c, label, n_samples, weight, delta):
    """One sample of :func:`softmax_cross_entropy`, its delta times ``weight``: loss without it, and if correct."""
    best = 0
    for j in range(1, sums.shape[0]):
        if sums[j, c] > sums[best, c]:
            best = j
    top = sums[best, c]
    margin = top - sums[label, c]
    total = 0.0
    for j in range(sums.shape[0]):
        sums[j, c] = math.exp(sums[j, c] - top)
        total += sums[j, c]
    for j in range(sums.shape[0]):
        p = sums[j, c] / total
        sums[j, c] = p
        delta[j, c] = weight * (p - (j == label)) / n_samples
    return math.log(total) + margin, best == label


@njit(inline="always")
def _sigmoid(z):
    small = math.exp(-abs(z))
    return (1.0 if z >= 0.0 else small) / (1.0 + small)
