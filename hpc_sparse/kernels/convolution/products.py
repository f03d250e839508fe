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
def convolve(indptr, indices, weight, bias, source, shifts, height, breadth, layout, out):
    """``out[q] = sum over taps (s, c) of weight * source[q + shifts[s], c] + bias`` at all places q, in order.

    Parameters
    ----------
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
    indices : int32[nnz]
        ``s * n_in + c``, increasing within a row.
    weight : float32[nnz]
    bias : float32[n_out]
    source : float32[n_places * n_in * n_columns] in tiles
    shifts : int64[n_shifts, 2]
        Down and to the right.
    height, breadth : int
        Places of an image.
    layout : int
        Of the tiles.
    out : float32[n_places * n_out * n_columns] in tiles
        Overwritten.
    """
    n_out, n_places, widest = bias.size, height * breadth, layout & WIDTH_BITS
    n_columns = out.size // (n_out * n_places)
    n_in = source.size // (n_columns * n_places)
    for work in prange(n_tiles_of(n_columns, widest) * n_places):
        column, own = nth_tile(work // n_places, n_columns, widest)
        place = work % n_places
        rows = np.empty(shifts.shape[0] * n_in, np.int64)
        find_rows(shifts, place, height, breadth, n_in, n_columns, column, own, rows)
        first = (place * n_columns + column) * n_out
        stop = np.int64(indptr[0])
        for row in range(n_out):
            start, stop = stop, np.int64(indptr[row + 1])
            place_sum(own, source, rows, indices, weight, start, stop, bias[row], out, first + row * own)


@njit(parallel=True, cache=True, nogil=True)
def tap_gradients(indptr, indices, delta, source, shifts, height, breadth, bounds, n_parts, layout, out):
    """Gradient of the loss at each tap: the sum over all places, tile by tile in ascending order.

    Parameters
    ----------
    indptr, indices, source, shifts, height, breadth, layout
        As in :func:`convolve`.
    delta : float32[n_places * n_out * n_columns] in tiles
        Derivative of the mean loss by the sums; 0 in the columns beyond the batch.
    bounds : int64[n_blocks + 1]
        Blocks of rows that are computed independently.
    n_parts : int
        Of the rows, each of which is computed place after place: as many as there are threads.
    out : float32[nnz]
        Overwritten.
    """
    n_out, n_blocks = indptr.size - 1, bounds.size - 1
    n_places, widest = height * breadth, layout & WIDTH_BITS
    n_columns = delta.size // (n_out * n_places)
    n_in = source.size // (n_columns * n_places)
    for part in prange(n_parts):
        first, last = bounds[n_blocks * part // n_parts], bounds[n_blocks * (part + 1) // n_parts]
        out[indptr[first] : indptr[last]] = 0
        rows = np.empty(shifts.shape[0] * n_in, np.int64)
        for work in range(n_tiles_of(n_columns, widest) * n_places if first < last else 0):
            column, own = nth_tile(work // n_places, n_columns, widest)
            place = work % n_places
            find_rows(shifts, place, height, breadth, n_in, n_columns, column, own, rows)
            offset = (place * n_columns + column) * n_out
            for row in range(first, last):
                start, stop = np.int64(indptr[row]), np.int64(indptr[row + 1])
                more_place_dots(own, source, rows, indices, start, stop, delta, offset + row * own, out)
