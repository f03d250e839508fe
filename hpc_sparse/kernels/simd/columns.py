"""Where columns of activations lie in memory: tiles of columns, one after the other.

Activations of n neurons are one flat array. A tile that begins with column c begins at c * n and holds its columns of
all neurons, neuron by neuron. All tiles have the same width; of the columns left over, the largest power of two is
taken at a time.

Activations of several places, such as the steps of a sequence, lie place after place, each in tiles of its own. The
columns of a place then come with the width, in one number: :func:`with_places`. Kernels pass it on as it is.
"""

from __future__ import annotations

from numba import njit

PLACE_BITS = 32
"""The columns of a place are in the bits from this one on, the width is in those below."""

WIDTH_BITS = (1 << PLACE_BITS) - 1


def with_places(width: int, n_columns: int) -> int:
    """The width of tiles together with the columns of each place, for activations of several places."""
    return width | n_columns << PLACE_BITS


@njit(inline="always")
def width_at(column, n_columns, width):
    """Width of the tile that begins with ``column``."""
    own = width
    if width > WIDTH_BITS:
        n_columns = width >> PLACE_BITS
        column, own = column % n_columns, width & WIDTH_BITS
    while column + own > n_columns:
        own //= 2
    return own


@njit(inline="always")
def tile_of(column, n_columns, width):
    """First column and width of the tile that holds ``column``."""
    start, widest = 0, width
    if width > WIDTH_BITS:
        n_columns, widest = width >> PLACE_BITS, width & WIDTH_BITS
        start = column - column % n_columns
    first = column - start
    first -= first % widest
    own = width_at(first, n_columns, widest)
    while column - start >= first + own:
        first += own
        own = width_at(first, n_columns, widest)
    return start + first, own


@njit(inline="always")
def nth_tile(number, n_columns, width):
    """First column and width of a tile, counted from 0."""
    start, widest = 0, width
    if width > WIDTH_BITS:
        n_columns, widest = width >> PLACE_BITS, width & WIDTH_BITS
        n_tiles = n_tiles_of(n_columns, widest)
        start = number // n_tiles * n_columns
        number %= n_tiles
    n_whole = n_columns // widest
    first = min(number, n_whole) * widest
    own = width_at(first, n_columns, widest)
    for _ in range(number - n_whole):
        first += own
        own = width_at(first, n_columns, widest)
    return start + first, own


@njit(inline="always")
def n_tiles_of(n_columns, width):
    """Tiles that hold all columns."""
    n_places, widest = 1, width
    if width > WIDTH_BITS:
        n_places, widest = n_columns // (width >> PLACE_BITS), width & WIDTH_BITS
        n_columns = width >> PLACE_BITS
    n_tiles, column = n_columns // widest, n_columns - n_columns % widest
    while column < n_columns:
        column += width_at(column, n_columns, widest)
        n_tiles += 1
    return n_places * n_tiles
