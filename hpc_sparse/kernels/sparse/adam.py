"""Steps of AdamW: each number has means of its gradients and of their squares, and its own age."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def adam_step(gradient, n_decayed, rate, decay, beta, gamma, epsilon, values, means, squares, ages):
    """One step of AdamW (Loshchilov, Hutter 2019, arXiv 1711.05101, algorithm 2).

    Means that began at 0 are too small by ``1 - beta^age`` and ``1 - gamma^age``, which is made up for. The age is that
    of the number: one that has begun later, as a grown connection's weight, is made up for longer.

    Parameters
    ----------
    gradient : float32[n]
    n_decayed : int
        So many at the front decay.
    rate : float32
        Learning rate.
    decay : float32
        Learning rate x weight decay: share of a number that goes, whatever its gradient is.
    beta, gamma : float64
        Shares of the means of gradients and of their squares that stay.
    epsilon : float32
        Added to the root of the mean square.
    values, means, squares, ages : float32[n]
        Updated in place.
    """
    log_beta, log_gamma = math.log(beta) if beta > 0 else -np.inf, math.log(gamma) if gamma > 0 else -np.inf
    last, step, root = -1.0, np.float32(0), np.float32(0)
    new, new_square = np.float32(1 - beta), np.float32(1 - gamma)
    kept, kept_square = np.float32(beta), np.float32(gamma)
    for i in range(values.size):
        age = ages[i] + np.float32(1)
        ages[i] = age
        if age != last:  # most numbers are as old as their neighbours
            last = age
            step = np.float32(rate / -math.expm1(age * log_beta))
            root = np.float32(1 / math.sqrt(-math.expm1(age * log_gamma)))
        g = gradient[i]
        means[i] = kept * means[i] + new * g
        squares[i] = kept_square * squares[i] + new_square * g * g
        value = values[i]
        if i < n_decayed:
            value -= decay * value
        values[i] = value - step * means[i] / (np.float32(math.sqrt(squares[i])) * root + epsilon)
