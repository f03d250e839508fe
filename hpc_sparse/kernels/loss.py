"""From the output layer's weighted sums to loss, correct predictions and deltas, in one pass over the batch.

Small work (classes x batch), so not spread over threads; sums are float64. The number of a sample's column is followed
from tile to tile: ``place`` is where its number of output 0 is, and those of the other outputs follow ``stride`` apart.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.simd.columns import tile_of


@njit(inline="always")
def place_of(c, n_outputs, n_columns, width):
    """Place of a column's number of output 0, and the distance to that of the next output."""
    first, own = tile_of(c, n_columns, width)
    return first * n_outputs + c - first, own


@njit(inline="always")
def clear_beyond(n_samples, n_outputs, width, delta):
    """Set the deltas of the columns beyond the batch to 0."""
    n_columns = delta.size // n_outputs
    for c in range(n_samples, n_columns):
        place, stride = place_of(c, n_outputs, n_columns, width)
        for j in range(n_outputs):
            delta[place + j * stride] = np.float32(0)


@njit(cache=True, nogil=True)
def softmax_cross_entropy(sums, labels, n_outputs, width, delta):
    """Softmax outputs with cross-entropy.

    Parameters
    ----------
    sums : float32[n_outputs * n_columns] in tiles
        Weighted sums of the output layer; overwritten with the class probabilities.
    labels : int32[n_samples]
    n_outputs : int
        Classes.
    width : int
        Of the tiles.
    delta : float32[n_outputs * n_columns] in tiles
        Overwritten with the derivative of the mean loss by ``sums``; 0 beyond ``n_samples``.

    Returns
    -------
    loss : float
        Summed over the batch.
    n_correct : int
        Samples whose largest probability (the first among equals) is their label's.
    """
    loss, n_correct, n_columns = 0.0, 0, sums.size // n_outputs
    clear_beyond(labels.size, n_outputs, width, delta)
    for c in range(labels.size):
        place, stride = place_of(c, n_outputs, n_columns, width)
        own_loss, is_correct = softmax_column(sums, place, stride, n_outputs, labels[c], labels.size, 1.0, delta)
        loss += own_loss
        n_correct += is_correct
    return loss, n_correct


@njit(parallel=True, cache=True, nogil=True)
def softmax_cross_entropy_of_places(sums, labels, n_outputs, width, delta):
    """As :func:`softmax_cross_entropy`, for each place of each sample; ``labels`` int32[n_samples, n_places].

    Places with label -1 do not count; ``delta`` is there 0. The loss is that of all that count, in their order.
    """
    n_places, n_columns = labels.shape[1], sums.size // n_outputs
    n_each, n_counted = n_columns // n_places, max(1, _n_labels(labels))
    losses, correct = np.empty(n_places), np.empty(n_places, np.int64)
    for place in prange(n_places):
        of_place = (labels, np.int64(place), n_each, n_outputs, n_columns, width, n_counted, delta)
        losses[place], correct[place] = _softmax_place(sums, *of_place)
    return _total(losses), _total(correct)


@njit(cache=True, nogil=True)
def _n_labels(labels):
    """Number of labels that count."""
    n = 0
    for label in labels.flat:
        n += label >= 0
    return n


@njit(cache=True, nogil=True)
def _total(values):
    """The sum in order; in a parallel function it would depend on the threads."""
    total = values[0]
    for i in range(1, values.size):
        total += values[i]
    return total


@njit(cache=True, nogil=True)
def _softmax_place(sums, labels, place, n_each, n_outputs, n_columns, width, n_counted, delta):
    """Loss and correct predictions of a place of all samples."""
    loss, n_correct = 0.0, 0
    for c in range(n_each):
        start, stride = place_of(place * n_each + c, n_outputs, n_columns, width)
        if c < labels.shape[0] and labels[c, place] >= 0:
            own, is_correct = softmax_column(sums, start, stride, n_outputs, labels[c, place], n_counted, 1.0, delta)
            loss += own
            n_correct += is_correct
        else:
            for j in range(n_outputs):
                delta[start + j * stride] = np.float32(0)
    return loss, n_correct


@njit(cache=True, nogil=True)
def weighted_cross_entropy(sums, labels, weights, n_outputs, width, delta):
    """As :func:`softmax_cross_entropy`, each sample's loss multiplied by the weight of its class.

    ``weights`` float64[n_classes]; correct predictions are counted without weights.
    """
    loss, n_correct, n_columns = 0.0, 0, sums.size // n_outputs
    clear_beyond(labels.size, n_outputs, width, delta)
    for c in range(labels.size):
        place, stride = place_of(c, n_outputs, n_columns, width)
        weight = weights[labels[c]]
        own_loss, is_correct = softmax_column(sums, place, stride, n_outputs, labels[c], labels.size, weight, delta)
        loss += weight * own_loss
        n_correct += is_correct
    return loss, n_correct


@njit(cache=True, nogil=True)
def sigmoid_cross_entropy(sums, labels, n_outputs, width, delta):
    """One sigmoid output with binary cross-entropy; arguments and results as in :func:`softmax_cross_entropy`.

    ``sums`` is overwritten with the probability of class 1.
    """
    n_samples, n_columns = labels.size, sums.size // n_outputs
    loss, n_correct = 0.0, 0
    clear_beyond(n_samples, n_outputs, width, delta)
    for c in range(n_samples):
        place, _ = place_of(c, n_outputs, n_columns, width)
        z, label = np.float64(sums[place]), labels[c]
        loss += max(z, 0.0) - z * label + math.log1p(math.exp(-abs(z)))
        n_correct += (z > 0.0) == (label == 1)
        p = _sigmoid(z)
        sums[place] = p
        delta[place] = (p - label) / n_samples
    return loss, n_correct


@njit(cache=True, nogil=True)
def multiclass_hinge(sums, labels, n_outputs, width, delta):
    """Hinge loss of several classes, ``max(0, 1 + largest other sum - own sum)``.

    ``sums`` are unchanged; the first among equal largest sums counts. The rest is as in :func:`softmax_cross_entropy`.
    """
    n_samples, n_columns = labels.size, sums.size // n_outputs
    loss, n_correct = 0.0, 0
    clear_beyond(n_samples, n_outputs, width, delta)
    for c in range(n_samples):
        place, stride = place_of(c, n_outputs, n_columns, width)
        label, rival = labels[c], -1
        for j in range(n_outputs):
            delta[place + j * stride] = np.float32(0)
            if j != label and (rival < 0 or sums[place + j * stride] > sums[place + rival * stride]):
                rival = j
        own = np.float64(sums[place + label * stride])
        other = np.float64(sums[place + rival * stride]) if rival >= 0 else own - 1.0
        if not 1.0 + other - own <= 0.0:  # also where a sum is no number
            loss += 1.0 + other - own
            delta[place + label * stride] = -1.0 / n_samples
            delta[place + rival * stride] = 1.0 / n_samples
        if own > other or (own == other and label < rival):
            n_correct += 1
    return loss, n_correct


@njit(cache=True, nogil=True)
def squared_error(sums, labels, is_tanh, n_outputs, width, delta):
    """Sigmoid (targets 0, 1) or tanh (targets -1, 1) outputs with the mean of the squared errors.

    One output stands for class 1 of two; else there is one output per class, whose target is high for the
    sample's class. ``sums`` is overwritten with the outputs; the rest is as in :func:`softmax_cross_entropy`.
    """
    n_samples, n_columns = labels.size, sums.size // n_outputs
    low, high, middle = (-1.0, 1.0, 0.0) if is_tanh else (0.0, 1.0, 0.5)
    loss, n_correct = 0.0, 0
    clear_beyond(n_samples, n_outputs, width, delta)
    for c in range(n_samples):
        place, stride = place_of(c, n_outputs, n_columns, width)
        label, best = labels[c], 0
        for j in range(n_outputs):
            i = place + j * stride
            z = np.float64(sums[i])
            y = math.tanh(z) if is_tanh else _sigmoid(z)
            slope = 1.0 - y * y if is_tanh else y * (1.0 - y)
            is_high = label == 1 if n_outputs == 1 else label == j
            error = y - (high if is_high else low)
            loss += error * error / n_outputs
            sums[i] = y
            delta[i] = 2.0 * error * slope / (n_outputs * n_samples)
            if sums[i] > sums[place + best * stride]:
                best = j
        n_correct += (sums[place] > middle) == (label == 1) if n_outputs == 1 else best == label
    return loss, n_correct


@njit(cache=True, nogil=True)
def squared_deviation(sums, targets, n_outputs, width, delta):
    """Linear outputs with the mean over the outputs of the squared errors: regression.

    Parameters
    ----------
    sums : float32[n_outputs * n_columns] in tiles
        Weighted sums of the output layer, which are the outputs; unchanged.
    targets : float32[n_samples, n_outputs]
    n_outputs, width : int
        As in :func:`softmax_cross_entropy`.
    delta : float32[n_outputs * n_columns] in tiles
        Overwritten with the derivative of the mean loss by ``sums``; 0 beyond ``n_samples``.

    Returns
    -------
    loss : float
        Summed over the batch.
    n_correct : int
        Always 0: there are no classes.
    """
    n_samples, n_columns = targets.shape[0], sums.size // n_outputs
    loss = 0.0
    clear_beyond(n_samples, n_outputs, width, delta)
    for j in range(n_outputs):
        for c in range(n_samples):
            place, stride = place_of(c, n_outputs, n_columns, width)
            i = place + j * stride
            error = np.float64(sums[i]) - targets[c, j]
            loss += error * error / n_outputs
            delta[i] = 2.0 * error / (n_outputs * n_samples)
    return loss, 0


@njit(inline="always")
def softmax_column(sums, place, stride, n_outputs, label, n_samples, weight, delta):
    """One sample of :func:`softmax_cross_entropy`, its delta times ``weight``: loss without it, and if correct."""
    best = 0
    for j in range(1, n_outputs):
        if sums[place + j * stride] > sums[place + best * stride]:
            best = j
    top = sums[place + best * stride]
    margin = top - sums[place + label * stride]
    total = 0.0
    for j in range(n_outputs):
        i = place + j * stride
        sums[i] = math.exp(sums[i] - top)
        total += sums[i]
    for j in range(n_outputs):
        i = place + j * stride
        p = sums[i] / total
        sums[i] = p
        delta[i] = weight * (p - (j == label)) / n_samples
    return math.log(total) + margin, best == label


@njit(inline="always")
def _sigmoid(z):
    small = math.exp(-abs(z))
    return (1.0 if z >= 0.0 else small) / (1.0 + small)
