"""Connections that act and connections that only learn: the forward and the backward set of Top-KAST.

Signals pass through the connections of largest |weight|; all get gradients and change. So a connection that does not
act grows by what it could contribute until it is among the largest. Which ones act follows from the weights alone:
there is nothing to store, to send or to resume (Jayakumar et al. 2020, arXiv 2106.03517).
"""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.kernels.sparse.selection import keep_from

ALL_ACT = 1.0
"""The share in networks of every other kind."""


def n_acting(n_connections: int, share: float) -> int:
    """Connections of a layer that act: at least one, if there is one."""
    return min(n_connections, max(1, round(share * n_connections)))


def acting_weight(weight: Float32Array, share: float) -> Float32Array:
    """What signals are multiplied by: the weights, 0 for those that do not act; ``weight`` itself if all act.

    Work O(n), by selection, in one thread; memory 8 bytes per connection for a while.

    Parameters
    ----------
    weight : float32[n]
    share : float
        Of the connections, the largest |weights|, and those equal to the smallest of them.

    Returns
    -------
    float32[n]
    """
    n_others = weight.size - n_acting(weight.size, share)
    if not n_others:
        return weight
    size = np.abs(weight)
    # As numbers, the bits of floats that are not negative are in the same order, and half as dear to compare.
    limit = np.partition(size.view(np.uint32), n_others)[n_others].view(VALUE)
    keep_from(weight, limit, size)
    return size
