"""Thinning out values by size."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def keep_from(values, least, out):
    """``out[i] = values[i]`` where ``|values[i]| >= least``, else 0; float32[n] each."""
    for i in range(values.size):
        out[i] = values[i] if abs(values[i]) >= least else np.float32(0)
