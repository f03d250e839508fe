"""Convolutions with sparse taps: sums at all places, the transposed map, and the gradient of every tap.

Activations are float32[n_places * n_neurons * n_columns]: the tiles of one place after those of another. Images have no
edge: what leaves on one side comes in on the other. The sums of a place do not depend on where it is, so that an image
that is shifted gives the same bits, shifted.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.convolution.place_loops import find_rows, more_place_dots, place_sum
from hpc_sparse.kernels.simd.columns import WIDTH_BITS, n_tiles_of, nth_tile


@njit(parallel=True, cache=True, nogil=True)
def convolve(indptr, indices, weight, bias, source, shifts, height, breadth, step, layout, out):
    """``out[q] = sum over taps (s, c) of weight * source[q + shifts[s], c] + bias``, in order, at the places q.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    indices : int32[nnz]
        ``s * n_in + c``, increasing within a row.
    weight : float32[nnz]
    bias : float32[n_out]
    source : float32[height * breadth * n_in * n_columns] in tiles
    shifts : int64[n_shifts, 2]
        Down and to the right.
    height, breadth : int
        Places of an image.
    step : int
        Sums are computed at every place number ``step`` in either direction.
    layout : int
        Of the tiles.
    out : float32[n_sums * n_out * n_columns] in tiles
        Overwritten; of the ``height * breadth / step^2`` places with sums.
    """
    n_out, n_beside, widest = bias.size, breadth // step, layout & WIDTH_BITS
    n_sums = height // step * n_beside
    n_columns = out.size // (n_out * n_sums)
    n_in = source.size // (n_columns * height * breadth)
    for work in prange(n_tiles_of(n_columns, widest) * n_sums):
        column, own = nth_tile(work // n_sums, n_columns, widest)
        place = work % n_sums
        y, x = place // n_beside * step, place % n_beside * step
        rows = np.empty(shifts.shape[0] * n_in, np.int64)
        find_rows(shifts, y, x, height, breadth, 1, n_in, n_columns, column, own, rows)
        first = (place * n_columns + column) * n_out
        stop = np.int64(indptr[0])
        for row in range(n_out):
            start, stop = stop, np.int64(indptr[row + 1])
            place_sum(own, source, rows, indices, weight, start, stop, bias[row], out, first + row * own)


@njit(parallel=True, cache=True, nogil=True)
def convolve_back(indptr, indices, weight, delta, shifts, height, breadth, step, layout, out):
    """``out`` = the transposed map of :func:`convolve`, of ``delta``, in order.

    Parameters
    ----------
    indptr : int32[step^2 * n_in + 1], or int64 beyond 2^31 connections
        Of the rows ``(y % step * step + x % step) * n_in + c``: the taps by which channel c of a place (y, x) is read.
    indices : int32[nnz]
        ``s * n_out + i``, increasing within a row.
    weight : float32[nnz]
    delta : float32[n_sums * n_out * n_columns] in tiles
    shifts, height, breadth, step, layout
        As in :func:`convolve`, but for the signs of ``shifts``.
    out : float32[height * breadth * n_in * n_columns] in tiles
        Overwritten.
    """
    n_in, n_places, widest = (indptr.size - 1) // step**2, height * breadth, layout & WIDTH_BITS
    n_columns = out.size // (n_in * n_places)
    n_out = delta.size // (n_columns * (height // step) * (breadth // step))
    for work in prange(n_tiles_of(n_columns, widest) * n_places):
        column, own = nth_tile(work // n_places, n_columns, widest)
        place = work % n_places
        y, x = place // breadth, place % breadth
        rows = np.empty(shifts.shape[0] * n_out, np.int64)
        find_rows(shifts, y, x, height, breadth, step, n_out, n_columns, column, own, rows)
        first, phase = (place * n_columns + column) * n_in, (y % step * step + x % step) * n_in
        for row in range(n_in):
            start, stop = np.int64(indptr[phase + row]), np.int64(indptr[phase + row + 1])
            place_sum(own, delta, rows, indices, weight, start, stop, np.float32(0), out, first + row * own)


@njit(parallel=True, cache=True, nogil=True)
def tap_gradients(indptr, indices, delta, source, shifts, height, breadth, step, bounds, n_parts, layout, out):
    """Gradient of the loss at each tap: the sum over all places, tile by tile in ascending order.

    Parameters
    ----------
    indptr, indices, source, shifts, height, breadth, step, layout
        As in :func:`convolve`.
    delta : float32[n_sums * n_out * n_columns] in tiles
        Derivative of the mean loss by the sums; 0 in the columns beyond the batch.
    bounds : int64[n_blocks + 1]
        Blocks of rows that are computed independently.
    n_parts : int
        Of the rows, each of which is computed place after place: as many as there are threads.
    out : float32[nnz]
        Overwritten.
    """
    n_out, n_blocks, n_beside = indptr.size - 1, bounds.size - 1, breadth // step
    n_sums, widest = height // step * n_beside, layout & WIDTH_BITS
    n_columns = delta.size // (n_out * n_sums)
    n_in = source.size // (n_columns * height * breadth)
    for part in prange(n_parts):
        first, last = bounds[n_blocks * part // n_parts], bounds[n_blocks * (part + 1) // n_parts]
        out[indptr[first] : indptr[last]] = 0
        rows = np.empty(shifts.shape[0] * n_in, np.int64)
        for work in range(n_tiles_of(n_columns, widest) * n_sums if first < last else 0):
            column, own = nth_tile(work // n_sums, n_columns, widest)
            place = work % n_sums
            y, x = place // n_beside * step, place % n_beside * step
            find_rows(shifts, y, x, height, breadth, 1, n_in, n_columns, column, own, rows)
            offset = (place * n_columns + column) * n_out
            for row in range(first, last):
                start, stop = np.int64(indptr[row]), np.int64(indptr[row + 1])
                more_place_dots(own, source, rows, indices, start, stop, delta, offset + row * own, out)
