"""A step of Adagrad."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def descend_adagrad(gradient, n_decayed, rate, epsilon, decay, values, squares):
    """``squares += g^2``, then ``values -= rate g / (sqrt(squares) + epsilon)``, after decay.

    Parameters
    ----------
    gradient : float32[n]
    n_decayed : int
        So many at the front are weights, of which ``decay`` is taken off; the others are biases.
    rate, epsilon, decay : float32
    values, squares : float32[n]
        Updated in place.
    """
    for i in range(values.size):
        g = gradient[i]
        squares[i] += g * g
        value = values[i]
        if i < n_decayed:
            value -= decay * value
        values[i] = value - rate * g / (np.float32(math.sqrt(squares[i])) + epsilon)
