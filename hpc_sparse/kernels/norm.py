"""Norm of a long vector, and its product with a number."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

BLOCK = 1 << 14
"""Numbers that are added up before the sums are; fixed, so that no bit depends on the threads."""


@njit(parallel=True, cache=True, nogil=True)
def sum_of_squares(values):
    """The sum of squares of float32[n], in float64."""
    n_blocks = (values.size + BLOCK - 1) // BLOCK
    sums = np.zeros(n_blocks, np.float64)
    for block in prange(n_blocks):
        total = 0.0
        for i in range(block * BLOCK, min(values.size, (block + 1) * BLOCK)):
            total += np.float64(values[i]) * np.float64(values[i])
        sums[block] = total
    total = 0.0
    for block in range(n_blocks):
        total += sums[block]
    return total


@njit(parallel=True, cache=True, nogil=True)
def scale(values, factor):
    """Multiply float32[n] by ``factor``, in place."""
    for i in prange(values.size):
        values[i] *= factor
