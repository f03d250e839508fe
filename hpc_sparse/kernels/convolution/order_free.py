"""Sums over places whose bits do not depend on where an image lies: norms of phases, and means of all places.

Floating-point sums depend on their order, which a shift changes. So numbers are scaled by a power of two, which
their largest one decides, cut to whole numbers, and these are added, which is exact. Maxima have no order either.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.convolution.sampling import activated
from hpc_sparse.kernels.hashing import GOLDEN, mix64
from hpc_sparse.kernels.simd.columns import WIDTH_BITS, tile_of, width_at

BITS = 30
"""Bits of a number that is scaled; 2^33 of them can be added."""

LARGEST, SUM, SQUARES = 0, 1, 2
"""Norms of a phase: its largest |value|, the sum of all, the sum of their squares."""

POOL_BLOCK = 512
"""Numbers of each place that one thread averages at a time."""


@njit(parallel=True, cache=True, nogil=True)
def average(values, slope, n_places, out):
    """``out`` float32[size] = mean of ``f(values)`` over the places; ``values`` float32[n_places * size].

    What is not finite gives not-a-number.
    """
    size = out.size
    for block in prange(-(-size // POOL_BLOCK)):
        start = block * POOL_BLOCK
        n = min(POOL_BLOCK, size - start)
        largest, watch = np.zeros(n, np.float32), np.zeros(n, np.float32)
        for place in range(n_places):
            own = values[place * size + start : place * size + start + n]
            for i in range(n):
                magnitude = abs(activated(own[i], slope))
                largest[i] = max(largest[i], magnitude)
                watch[i] += magnitude  # not-a-number stays, whatever the order
        scale, total = np.empty(n, np.float64), np.zeros(n, np.int64)
        for i in range(n):
            scale[i] = math.ldexp(1.0, BITS - math.frexp(largest[i])[1]) if watch[i] - watch[i] == 0 else 0.0
        for place in range(n_places):
            own = values[place * size + start : place * size + start + n]
            for i in range(n):
                number = np.float64(activated(own[i], slope)) * scale[i]
                total[i] += np.int64(number if number == number else 0.0)
        found = out[start : start + n]
        for i in range(n):
            found[i] = np.float32(total[i] / scale[i] / n_places) if scale[i] > 0 else np.float32(np.nan)


@njit(parallel=True, cache=True, nogil=True)
def largest_of_rows(values, slope, height, breadth, n_neurons, layout, out):
    """``out`` float32[height, n_columns] = largest ``|f(values)|`` of each sample in each row of its image."""
    size = values.size // (height * breadth)
    n_columns, widest = size // n_neurons, layout & WIDTH_BITS
    for y in prange(height):
        out[y] = 0
        for x in range(breadth):
            first = (y * breadth + x) * size
            column = 0
            while column < n_columns:
                own = width_at(column, n_columns, widest)
                found = out[y, column : column + own]
                for row in range(n_neurons):
                    start = first + column * n_neurons + row * own
                    part = values[start : start + own]
                    for i in range(own):
                        found[i] = max(found[i], abs(activated(part[i], slope)))
                column += own


@njit(parallel=True, cache=True, nogil=True)
def phase_norms(values, slope, norm, scale, height, breadth, n_neurons, layout, out):
    """Norms of the four phases of each sample, of each row of 2 x 2 places.

    Parameters
    ----------
    values : float32[height * breadth * size]
    slope : float32
    norm : int
        :data:`LARGEST`, :data:`SUM` or :data:`SQUARES`.
    scale : float32[n_columns]
        Power of two, for each sample: ``|f(values)| * scale`` is at most 2^BITS, of squares 2^(BITS / 2).
    height, breadth, n_neurons, layout
        As in :func:`hpc_sparse.kernels.convolution.sampling.take`.
    out : int64[height / 2, 4, n_columns]
        Overwritten: whole numbers, to be added, or of :data:`LARGEST` compared.
    """
    size = values.size // (height * breadth)
    n_columns, widest = size // n_neurons, layout & WIDTH_BITS
    for half in prange(height // 2):
        out[half] = 0
        for number in range(2 * breadth):
            y, x = 2 * half + number // breadth, number % breadth
            first, phase = (y * breadth + x) * size, y % 2 * 2 + x % 2
            column = 0
            while column < n_columns:
                own = width_at(column, n_columns, widest)
                found, scales = out[half, phase, column : column + own], scale[column : column + own]
                for row in range(n_neurons):
                    start = first + column * n_neurons + row * own
                    part = values[start : start + own]
                    if norm == SQUARES:
                        for i in range(own):
                            scaled = activated(part[i], slope) * scales[i]
                            found[i] += np.int64(np.int32(scaled * scaled))
                    elif norm == SUM:
                        for i in range(own):
                            found[i] += np.int64(np.int32(abs(activated(part[i], slope)) * scales[i]))
                    else:
                        for i in range(own):
                            found[i] = max(found[i], np.int64(np.int32(abs(activated(part[i], slope)) * scales[i])))
                column += own


@njit(cache=True, nogil=True)
def _mix_around(own, other, n_rows, n_columns, is_down):
    """Mix what each place has with what lies 1, 2, 4, ... further: all that is there, as seen from it."""
    reach, side = 1, n_rows if is_down else n_columns
    while reach < side:
        other[:] = own
        for y in range(n_rows):
            for x in range(n_columns):
                y2, x2 = ((y + reach) % n_rows, x) if is_down else (y, (x + reach) % n_columns)
                own[y, x] = mix64(other[y, x] * GOLDEN + mix64(other[y2, x2]))
        reach *= 2


@njit(parallel=True, cache=True, nogil=True)
def contents(words, columns, height, breadth, n_neurons, layout, out):
    """Numbers of what the phases of some samples hold: the same for images that are shifts of each other.

    The number of a place is a hash of the whole phase as seen from it. Their sum has no order.

    Parameters
    ----------
    words : uint32[height * breadth * size]
        The bits of the values.
    columns : int64[n]
        The samples.
    height, breadth, n_neurons, layout
        As in :func:`hpc_sparse.kernels.convolution.sampling.take`.
    out : uint64[4, n]
        Overwritten.
    """
    size, n_rows, n_beside = words.size // (height * breadth), height // 2, breadth // 2
    n_columns = size // n_neurons
    for work in prange(4 * columns.size):
        number, phase = work // 4, work % 4
        start, own = tile_of(columns[number], n_columns, layout & WIDTH_BITS)
        at = start * n_neurons + columns[number] - start
        seen, before = np.empty((n_rows, n_beside), np.uint64), np.empty((n_rows, n_beside), np.uint64)
        for y in range(n_rows):
            for x in range(n_beside):
                first = ((2 * y + phase // 2) * breadth + 2 * x + phase % 2) * size + at
                value = np.uint64(0)
                for row in range(n_neurons):
                    value = mix64(value * GOLDEN + np.uint64(words[first + row * own]))
                seen[y, x] = value
        _mix_around(seen, before, n_rows, n_beside, False)
        _mix_around(seen, before, n_rows, n_beside, True)
        total = np.uint64(0)
        for y in range(n_rows):
            for x in range(n_beside):
                total += seen[y, x]
        out[phase, number] = total
