"""Activation and sampling of images: places, places of a 2 x 2 grid, or a phase of the grid that each sample chooses.

Arrays are float32[n_places * size], ``size = n_neurons * n_columns`` numbers in tiles for each place. ``phases`` is
int32[n_columns]: of the four places (0, 0), (0, 1), (1, 0), (1, 1) of each 2 x 2, the one that a sample takes; empty
where all take the first. With ``step`` 1 all places are taken.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from hpc_sparse.kernels.simd.columns import WIDTH_BITS, width_at

NORMAL = np.float32(1 / 16)
"""1 / sum of the weights of the 3 x 3 filter [1, 2, 1] x [1, 2, 1]."""


@njit(inline="always")
def activated(total, slope):
    """``f(z) = z if z >= 0 else slope * z``."""
    return total if total >= 0 else slope * total


@njit(parallel=True, cache=True, nogil=True)
def take(values, slope, phases, step, height, breadth, n_neurons, layout, out):
    """``out = f(values)`` of the places that are taken.

    Parameters
    ----------
    values : float32[height * breadth * size]
        Weighted sums, or with slope 1 any numbers.
    slope : float32
    phases : int32[n_columns], or empty
    step, height, breadth, n_neurons : int
    layout : int
        Of the tiles.
    out : float32[height * breadth / step^2 * size]
        Overwritten.
    """
    n_places = height // step * (breadth // step)
    size = out.size // n_places
    n_columns, widest = size // n_neurons, layout & WIDTH_BITS
    for place in prange(n_places):
        y, x = place // (breadth // step) * step, place % (breadth // step) * step
        here = (y * breadth + x) * size
        first, found = values[here : here + size], out[place * size : (place + 1) * size]
        if phases.size == 0:
            for i in range(size):
                found[i] = activated(first[i], slope)
            continue
        second = values[here + size : here + 2 * size]
        third = values[here + breadth * size : here + (breadth + 1) * size]
        fourth = values[here + (breadth + 1) * size : here + (breadth + 2) * size]
        column = 0
        while column < n_columns:
            own = width_at(column, n_columns, widest)
            chosen = phases[column : column + own]
            for row in range(n_neurons):
                start = column * n_neurons + row * own
                a, b = first[start : start + own], second[start : start + own]
                c, d = third[start : start + own], fourth[start : start + own]
                result = found[start : start + own]
                for i in range(own):
                    upper, lower = b[i] if chosen[i] & 1 else a[i], d[i] if chosen[i] & 1 else c[i]
                    result[i] = activated(lower if chosen[i] > 1 else upper, slope)
            column += own


@njit(parallel=True, cache=True, nogil=True)
def give(delta, factor, slope, phases, step, height, breadth, n_neurons, layout, values):
    """The transposed map of :func:`take`: ``values`` become the derivatives by the sums that they are.

    Parameters
    ----------
    delta : float32[n * size]
        Derivative by what was taken; of one place (n = 1), it is that of every one.
    factor : float32
        Of ``delta``.
    slope, phases, step, height, breadth, n_neurons, layout
        As in :func:`take`.
    values : float32[height * breadth * size]
        Overwritten: 0 at the places that are not taken.
    """
    n_places = height * breadth
    size = values.size // n_places
    n_columns, widest, n_given = size // n_neurons, layout & WIDTH_BITS, delta.size // size
    for place in prange(n_places):
        y, x = place // breadth, place % breadth
        phase = y % step * 2 + x % step
        source = (y // step * (breadth // step) + x // step) * size if n_given > 1 else 0
        given, found = delta[source : source + size], values[place * size : (place + 1) * size]
        if phases.size == 0:
            if phase:
                found[:] = 0
                continue
            for i in range(size):
                found[i] = factor * (given[i] if found[i] >= 0 else slope * given[i])
            continue
        column = 0
        while column < n_columns:
            own = width_at(column, n_columns, widest)
            chosen = phases[column : column + own]
            for row in range(n_neurons):
                start = column * n_neurons + row * own
                own_delta, result = given[start : start + own], found[start : start + own]
                for i in range(own):
                    passed = factor * (own_delta[i] if result[i] >= 0 else slope * own_delta[i])
                    result[i] = passed if chosen[i] == phase else np.float32(0)
            column += own


@njit(inline="always")
def _neighbours(values, place, height, breadth, size):
    """The rows of places above, at and below a place, and the columns beside: numbers of places times ``size``."""
    y, x = place // breadth, place % breadth
    above, below = (y - 1) % height * breadth, (y + 1) % height * breadth
    return above, y * breadth, below, (x - 1) % breadth, x, (x + 1) % breadth


@njit(inline="always")
def _part(values, place, size):
    return values[place * size : (place + 1) * size]


@njit(parallel=True, cache=True, nogil=True)
def smooth(values, slope, height, breadth, out):
    """``out = f(values)`` smoothed by the filter [1, 2, 1] x [1, 2, 1] / 16, around the edges; sizes as above."""
    size = values.size // (height * breadth)
    for place in prange(height * breadth):
        above, here, below, left, mid, right = _neighbours(values, place, height, breadth, size)
        a, b, c = (
            _part(values, above + left, size),
            _part(values, above + mid, size),
            _part(values, above + right, size),
        )
        d, e, f = (_part(values, here + left, size), _part(values, here + mid, size), _part(values, here + right, size))
        g, h, k = (
            _part(values, below + left, size),
            _part(values, below + mid, size),
            _part(values, below + right, size),
        )
        found = _part(out, place, size)
        for i in range(size):
            corners = activated(a[i], slope) + activated(c[i], slope) + activated(g[i], slope) + activated(k[i], slope)
            sides = activated(b[i], slope) + activated(d[i], slope) + activated(f[i], slope) + activated(h[i], slope)
            middle = activated(e[i], slope)
            found[i] = NORMAL * (corners + np.float32(2) * sides + np.float32(4) * middle)


@njit(parallel=True, cache=True, nogil=True)
def smooth_back(given, slope, height, breadth, values):
    """The transposed map of :func:`smooth`: ``values`` become derivatives by the sums that they are."""
    size = values.size // (height * breadth)
    for place in prange(height * breadth):
        above, here, below, left, mid, right = _neighbours(given, place, height, breadth, size)
        a, b, c = (_part(given, above + left, size), _part(given, above + mid, size), _part(given, above + right, size))
        d, e, f = (_part(given, here + left, size), _part(given, here + mid, size), _part(given, here + right, size))
        g, h, k = (_part(given, below + left, size), _part(given, below + mid, size), _part(given, below + right, size))
        found = _part(values, place, size)
        for i in range(size):
            total = a[i] + c[i] + g[i] + k[i] + np.float32(2) * (b[i] + d[i] + f[i] + h[i]) + np.float32(4) * e[i]
            found[i] = NORMAL * (total if found[i] >= 0 else slope * total)
