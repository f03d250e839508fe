"""Dropout of one layer in one step."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hpc_sparse.dtypes import VALUE


class Dropout(NamedTuple):
    """Inverted dropout of one layer in one step.

    Attributes
    ----------
    rate : float
        Share of activations set to 0; the others are divided by 1 - rate.
    key : uint64
        The stream that decides which.
    """

    rate: float
    key: np.uint64

    @property
    def drop_below(self) -> np.uint32:
        """The rate as a threshold for random 32-bit numbers."""
        return _drop_below(self.rate)

    @property
    def scale(self) -> np.float32:
        """Factor of the activations that stay."""
        return _scale(self.rate)


NO_DROPOUT = Dropout(0.0, np.uint64(0))


@lru_cache
def _drop_below(rate: float) -> np.uint32:
    return np.uint32(min(round(rate * (1 << 32)), (1 << 32) - 1))


@lru_cache
def _scale(rate: float) -> np.float32:
    return VALUE(1.0 / (1.0 - rate))
