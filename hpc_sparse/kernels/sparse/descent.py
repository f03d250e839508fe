"""Updates of all parameters at once, from a vector of gradients that came from elsewhere."""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_sparse.kernels.sparse.gradient import descend


@njit(cache=True, nogil=True)
def descend_all(gradient, n_decayed, learning_rate, momentum, decay, is_nesterov, values, velocities):
    """One step of SGD with momentum, by the formula of :func:`~hpc_sparse.kernels.sparse.gradient.gradient_update`.

    Parameters
    ----------
    gradient : float32[n]
    n_decayed : int
        So many at the front are weights, which decay; the others are biases.
    learning_rate, momentum : float32
    decay : float32
        Learning rate x weight decay.
    is_nesterov : bool
    values : float32[n]
    velocities : float32[n] or RoundedVelocity
        Both are updated in place.
    """
    for i in range(n_decayed):
        descend(values, velocities, i, gradient[i], learning_rate, momentum, decay, is_nesterov)
    for i in range(n_decayed, values.size):
        descend(values, velocities, i, gradient[i], learning_rate, momentum, np.float32(0), is_nesterov)


@njit(cache=True, nogil=True)
def add_scaled(values, factor, out):
    """``out += factor * values``, float32[n] each."""
    for i in range(out.size):
        out[i] += factor * values[i]
