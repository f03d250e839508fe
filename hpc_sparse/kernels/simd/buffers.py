"""Aligned memory for the kernels' streams."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hpc_sparse.kernels.simd.machine import PADDING

CACHE_LINE = 64
"""Bytes. A vector load that straddles two lines costs two."""

Scalar = TypeVar("Scalar", bound=np.generic)


def aligned_empty(shape: int | tuple[int, ...], dtype: type[Scalar]) -> npt.NDArray[Scalar]:
    """Like ``numpy.empty`` in C order, but starting on a cache line."""
    n_bytes = math.prod((shape,) if isinstance(shape, int) else shape) * np.dtype(dtype).itemsize
    raw = np.empty(n_bytes + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + n_bytes].view(dtype).reshape(shape)


def padded_columns(n_samples: int) -> int:
    """Columns of the activations of ``n_samples`` samples: rounded up to whole tiles of the least width."""
    return -(-n_samples // PADDING) * PADDING
