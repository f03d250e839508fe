"""The derivative of the layer below, for a pass that has written its deltas without it."""

from __future__ import annotations

from numba import njit, prange

from hpc_sparse.kernels.simd.activation import BLOCK, WORDS, differentiate


@njit(parallel=True, cache=True, nogil=True)
def differentiate_all(record, slope, scale, deltas):
    """Multiply ``deltas`` by the derivative of activation and dropout that ``record`` tells.

    Parameters
    ----------
    record : uint16[n * WORDS / BLOCK]
        As :func:`hpc_sparse.kernels.sparse.forward.forward_train` wrote it.
    slope, scale : float32
        Of the layer below.
    deltas : float32[n] in tiles
        Changed.
    """
    for block in prange(deltas.size // BLOCK):
        differentiate(deltas, block * BLOCK, slope, scale, record, block * WORDS)
