"""Losses in which every sample has a weight of its own; otherwise as in :mod:`hpc_sparse.kernels.loss`."""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_sparse.kernels.loss import clear_beyond, place_of, softmax_column


@njit(cache=True, nogil=True)
def sample_cross_entropy(sums, labels, weights, n_outputs, width, delta):
    """Softmax outputs with cross-entropy, the loss of each sample times its weight, ``weights`` float64[n_samples].

    Correct predictions are counted without weights.
    """
    loss, n_correct, n_columns = 0.0, 0, sums.size // n_outputs
    clear_beyond(labels.size, n_outputs, width, delta)
    for c in range(labels.size):
        place, stride = place_of(c, n_outputs, n_columns, width)
        own_loss, is_correct = softmax_column(sums, place, stride, n_outputs, labels[c], labels.size, weights[c], delta)
        loss += weights[c] * own_loss
        n_correct += is_correct
    return loss, n_correct


@njit(cache=True, nogil=True)
def sample_squared_deviation(sums, targets, weights, n_outputs, width, delta):
    """Linear outputs with squared errors, the loss of each sample times its weight, ``weights`` float64[n_samples]."""
    n_samples, n_columns = targets.shape[0], sums.size // n_outputs
    loss = 0.0
    clear_beyond(n_samples, n_outputs, width, delta)
    for j in range(n_outputs):
        for c in range(n_samples):
            place, stride = place_of(c, n_outputs, n_columns, width)
            i = place + j * stride
            error = np.float64(sums[i]) - targets[c, j]
            loss += weights[c] * error * error / n_outputs
            delta[i] = 2.0 * weights[c] * error / (n_outputs * n_samples)
    return loss
