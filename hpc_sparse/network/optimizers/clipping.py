"""Clipping of gradients: a gradient that is too long keeps its direction (Pascanu, Mikolov, Bengio 2013).

Each replica clips the gradient of its own batch, all parameters together, before its optimiser or its server gets it.
"""

from __future__ import annotations

import math

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.kernels.norm import scale, sum_of_squares


def clip(gradient: Float32Array, most: float) -> float:
    """Scale a gradient down if its norm is above ``most``; one that is not finite stays so.

    Parameters
    ----------
    gradient : float32[n]
        Of all parameters; changed in place.
    most : float

    Returns
    -------
    float
        The norm before.
    """
    norm = math.sqrt(sum_of_squares(gradient))
    if norm > most:
        scale(gradient, VALUE(most / norm))
    return norm
