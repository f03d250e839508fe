"""Forward pass over connections in groups of inputs: as :mod:`hpc_sparse.kernels.sparse.forward`, to the bit."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.hashing import GOLDEN, mix64
from hpc_sparse.kernels.patterns.expansion import PANEL, distance_in_groups, expand_rows
from hpc_sparse.kernels.simd.activation import BLOCK, COLUMN_STEP, WORDS
from hpc_sparse.kernels.simd.columns import n_tiles_of, nth_tile
from hpc_sparse.kernels.simd.row_loops import row_sum, row_sum_activated


@njit(parallel=True, cache=True, nogil=True)
def forward(position, base, weight, bias, source, slope, bounds, width, out):
    """``out = f(W source + bias)``, with ``f(z) = z if z >= 0 else slope * z``.

    Parameters
    ----------
    position : uint8[n_out * fan_in]
        Number of each connection's input within its group, row by row.
    base : int32[fan_in]
        First input of the group of each connection of a row.
    weight, bias, source, slope, bounds, width, out
        As in :func:`hpc_sparse.kernels.sparse.forward.forward`.
    """
    n_out, n_blocks, fan_in = bias.size, bounds.size - 1, base.size
    n_columns = out.size // n_out
    n_in = source.size // n_columns
    n_rows = max(1, PANEL // fan_in)
    for work in prange(n_tiles_of(n_columns, width) * n_blocks):
        column, own = nth_tile(work // n_blocks, n_columns, width)
        distance = distance_in_groups(n_in * own * source.itemsize)
        ins = np.empty(n_rows * fan_in, np.int32)
        first, stop = bounds[work % n_blocks], bounds[work % n_blocks + 1]
        while first < stop:
            n_here = min(n_rows, stop - first)
            expand_rows(position, base, first, n_here, ins)
            weights, last = weight[first * fan_in :], n_here * fan_in - 1
            for row in range(n_here):
                rows = ins, weights, row * fan_in, (row + 1) * fan_in, last, distance, bias[first + row]
                row_sum(own, source, column * n_in, *rows, slope, out, column * n_out + (first + row) * own)
            first += n_here


@njit(parallel=True, cache=True, nogil=True)
def forward_train(
    position,
    base,
    weight,
    bias,
    source,
    slope,
    drop_below,
    scale,
    key,
    first_row,
    first_column,
    bounds,
    width,
    out,
    record,
):
    """As :func:`forward`, then inverted dropout; records what the backward pass needs.

    Parameters
    ----------
    position, base, weight, bias, source, slope, bounds, width, out
        As in :func:`forward`.
    drop_below, scale, key, first_row, first_column, record
        As in :func:`hpc_sparse.kernels.sparse.forward.forward_train`.
    """
    n_out, n_blocks, fan_in = bias.size, bounds.size - 1, base.size
    n_columns = out.size // n_out
    n_in = source.size // n_columns
    n_rows = max(1, PANEL // fan_in)
    shift = np.uint32(np.uint64(first_column) * np.uint64(COLUMN_STEP))
    for work in prange(n_tiles_of(n_columns, width) * n_blocks):
        column, own = nth_tile(work // n_blocks, n_columns, width)
        distance = distance_in_groups(n_in * own * source.itemsize)
        ins = np.empty(n_rows * fan_in, np.int32)
        first, stop = bounds[work % n_blocks], bounds[work % n_blocks + 1]
        while first < stop:
            n_here = min(n_rows, stop - first)
            expand_rows(position, base, first, n_here, ins)
            weights, last = weight[first * fan_in :], n_here * fan_in - 1
            for row in range(n_here):
                number = first + row
                row_key = np.uint32(np.uint32(mix64(key + np.uint64(first_row + number) * GOLDEN)) + shift)
                offset = column * n_out + number * own
                rows = ins, weights, row * fan_in, (row + 1) * fan_in, last, distance, bias[number]
                dropout = column, slope, scale, drop_below, row_key, record, offset // BLOCK * WORDS
                row_sum_activated(own, source, column * n_in, *rows, out, offset, *dropout)
            first += n_here


@njit(cache=True, nogil=True, fastmath={"contract"})
def forward_sample(position, base, weight, bias, source, slope, out):
    """The pass of :func:`forward` for one sample, to the bit; one thread.

    Parameters
    ----------
    position, base, weight, bias
        As in :func:`forward`.
    source : float32[n_in]
    slope : float32
    out : float32[n_out]
        Overwritten.
    """
    fan_in = base.size
    for row in range(out.size):
        total, start = bias[row], row * fan_in
        for j in range(fan_in):
            total += weight[start + j] * source[base[j] + position[start + j]]
        out[row] = total if total >= 0 else slope * total
