"""Sharing out a whole number in proportion."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import OFFSET, Float64Array, Int64Array


def apportion(n: int, share: Float64Array, capacity: Int64Array) -> Int64Array:
    """Share out ``n`` in proportion to ``share``, nobody getting more than its capacity.

    What one cannot take goes to the others in the same proportion, or evenly where nobody left has a share. Fractions
    go to the largest remainders, among equal ones to the first.

    Parameters
    ----------
    n : int
    share : float64[m]
        Not negative.
    capacity : int64[m]

    Returns
    -------
    int64[m]
        Its sum is ``n``, or that of the capacities if it is less.
    """
    given, n_left = np.zeros(share.size, OFFSET), min(n, int(capacity.sum()))
    while n_left > 0:
        room = capacity - given
        weight = np.where(room > 0, share, 0.0)
        if not weight.sum() > 0:
            weight = (room > 0).astype(np.float64)
        quota = n_left * (weight / weight.sum())
        part = np.floor(quota).astype(OFFSET)
        is_filled = (part >= room) & (room > 0)
        if is_filled.any():
            # The others share what is left.
            part = np.where(is_filled, room, 0)
        else:
            rest = np.argsort(part - quota - 2.0 * (room > part), kind="stable")
            part[rest[: n_left - int(part.sum())]] += 1
        given += part
        n_left -= int(part.sum())
    return given
