"""Forward pass of block-sparse connections for a single sample."""

from __future__ import annotations

import numpy as np
from numba import njit

ROWS = 4
"""Neurons whose sums run side by side: the next sum need not wait for the addition before it."""


@njit(cache=True, nogil=True, fastmath={"contract"})
def forward_sample(indptr, indices, weight, unit, bias, source, slope, out):
    """The pass of :func:`hpc_sparse.kernels.block.forward.forward` for one sample, to the bit; one thread.

    Parameters
    ----------
    indptr, indices, weight, unit, bias, slope
        As there.
    source : float32[n_in]
    out : float32[n_out]
        Overwritten.
    """
    n_out, n_in, (r, c) = out.size, source.size, unit
    for block_row in range(indptr.size - 1):
        row, last = block_row * r, min(n_out, (block_row + 1) * r)
        start, stop = np.int64(indptr[block_row]), np.int64(indptr[block_row + 1])
        while row < last:
            n_rows = ROWS if row + ROWS <= last else 1
            first, second, third, fourth = bias[row], np.float32(0), np.float32(0), np.float32(0)
            if n_rows == ROWS:
                second, third, fourth = bias[row + 1], bias[row + 2], bias[row + 3]
            for slot in range(start, stop):
                begin, at = np.int64(indices[slot]) * c, slot * r * c + (row - block_row * r) * c
                for k in range(min(c, n_in - begin)):
                    value = source[begin + k]
                    first += weight[at + k] * value
                    if n_rows == ROWS:
                        second += weight[at + c + k] * value
                        third += weight[at + 2 * c + k] * value
                        fourth += weight[at + 3 * c + k] * value
            out[row] = first if first >= 0 else slope * first
            if n_rows == ROWS:
                out[row + 1] = second if second >= 0 else slope * second
                out[row + 2] = third if third >= 0 else slope * third
                out[row + 3] = fourth if fourth >= 0 else slope * fourth
            row += n_rows
