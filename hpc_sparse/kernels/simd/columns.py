"""Where columns of activations lie in memory: tiles of columns, one after the other.

Activations of n neurons are one flat array. A tile that begins with column c begins at c * n and holds its columns of
all neurons, neuron by neuron. All tiles have the same width; of the columns left over, the largest power of two is
taken at a time.
"""

from __future__ import annotations

from numba import njit


@njit(inline="always")
def width_at(column, n_columns, width):
    """Width of the tile that begins with ``column``."""
    while column + width > n_columns:
        width //= 2
    return width


@njit(inline="always")
def tile_of(column, n_columns, width):
    """First column and width of the tile that holds ``column``."""
    first = column - column % width
    own = width_at(first, n_columns, width)
    while column >= first + own:
        first += own
        own = width_at(first, n_columns, width)
    return first, own


@njit(inline="always")
def nth_tile(number, n_columns, width):
    """First column and width of a tile, counted from 0."""
    n_whole = n_columns // width
    first = min(number, n_whole) * width
    own = width_at(first, n_columns, width)
    for _ in range(number - n_whole):
        first += own
        own = width_at(first, n_columns, width)
    return first, own


@njit(inline="always")
def n_tiles_of(n_columns, width):
    """Tiles that hold all columns."""
    n_tiles, column = n_columns // width, n_columns - n_columns % width
    while column < n_columns:
        column += width_at(column, n_columns, width)
        n_tiles += 1
    return n_tiles
