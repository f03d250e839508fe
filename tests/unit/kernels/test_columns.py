"""Where columns lie, against a list of tiles made in plain Python, for every number of columns up to 512."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from hpc_sparse.kernels.simd.columns import n_tiles_of, nth_tile, tile_of, width_at, with_places

WIDTHS = [16, 32, 64, 128]
"""Of any machine."""

MOST_COLUMNS = 512


def model(n_columns, width):
    """First column and width of every tile: whole ones, then one for each bit of what is left over."""
    tiles = [(first, width) for first in range(0, n_columns - width + 1, width)]
    column = n_columns // width * width
    left = n_columns - column
    for power in reversed(range(left.bit_length())):
        if left >> power & 1:
            tiles.append((column, 1 << power))
            column += 1 << power
    return tiles


@njit
def layout_of(n_columns, width):
    """The tile of every column; every tile by its number, and the width that is found at its first column."""
    of_columns = np.empty((n_columns, 2), np.int64)
    for column in range(n_columns):
        of_columns[column] = tile_of(column, n_columns, width)
    of_tiles = np.empty((n_tiles_of(n_columns, width), 3), np.int64)
    for number in range(len(of_tiles)):
        first, own = nth_tile(number, n_columns, width)
        of_tiles[number] = first, own, width_at(first, n_columns, width)
    return of_columns, of_tiles


@pytest.mark.parametrize("width", WIDTHS)
def test_tiles_are_those_of_the_model(width):
    for n_columns in range(1, MOST_COLUMNS + 1):
        of_columns, of_tiles = layout_of(n_columns, width)
        expected = np.array(model(n_columns, width))
        np.testing.assert_array_equal(of_tiles, np.column_stack([expected, expected[:, 1]]), err_msg=str(n_columns))
        np.testing.assert_array_equal(of_columns, np.repeat(expected, expected[:, 1], axis=0), err_msg=str(n_columns))


@pytest.mark.parametrize("width", WIDTHS)
def test_tiles_hold_every_column_once_and_get_narrower(width):
    for n_columns in range(1, MOST_COLUMNS + 1):
        firsts, owns = layout_of(n_columns, width)[1][:, :2].T
        np.testing.assert_array_equal(firsts, np.cumsum(owns) - owns)
        assert owns.sum() == n_columns
        assert (owns[: n_columns // width] == width).all()
        assert (np.diff(owns[n_columns // width :]) < 0).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_tiles_of_a_padded_batch_are_among_the_widths(width):
    for n_columns in range(16, MOST_COLUMNS + 1, 16):
        assert set(layout_of(n_columns, width)[1][:, 1]) <= set(WIDTHS[: WIDTHS.index(width) + 1])


def test_a_tile_as_wide_as_the_batch_holds_it_all():
    for n_columns in (1, 48, 112, 240):
        of_columns, of_tiles = layout_of(n_columns, n_columns)
        assert of_tiles.tolist() == [[0, n_columns, n_columns]]
        assert np.unique(of_columns, axis=0).tolist() == [[0, n_columns]]


@pytest.mark.parametrize("width", WIDTHS)
def test_python_finds_the_tiles_that_kernels_find(width):
    for n_columns in range(16, MOST_COLUMNS + 1, 16):
        tiles = model(n_columns, width)
        assert [width_at.py_func(first, n_columns, width) for first, _ in tiles] == [own for _, own in tiles]


@pytest.mark.parametrize("width", WIDTHS)
def test_each_of_several_places_has_the_tiles_of_one(width):
    for n_columns in (16, 32, 48, 112, 128, 144, 240, 256):
        one_of_columns, one_of_tiles = layout_of(n_columns, width)
        for n_places in (1, 2, 5):
            of_columns, of_tiles = layout_of(n_places * n_columns, with_places(width, n_columns))
            for place in range(n_places):
                shift = np.array([place * n_columns, 0, 0])
                n = len(one_of_tiles)
                np.testing.assert_array_equal(of_tiles[place * n : (place + 1) * n], one_of_tiles + shift)
                own = of_columns[place * n_columns : (place + 1) * n_columns]
                np.testing.assert_array_equal(own, one_of_columns + shift[:2])
            assert len(of_tiles) == n_places * len(one_of_tiles)
