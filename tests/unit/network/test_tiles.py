"""Tiles against the matrices that they hold."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd.buffers import CACHE_LINE, aligned_empty, padded_columns
from hpc_sparse.kernels.simd.machine import PADDING, WIDTHS
from hpc_sparse.network.tiles import Tiles

SAMPLES = [1, 5, 15, 16, 17, 32, 37, 48, 63, 64, 96, 112, 127, 128, 129, 144, 240, 257]
NEURONS = [1, 3, 37]


def numbers(n_neurons, n_samples, dtype=np.float32):
    values = np.random.default_rng(n_samples).standard_normal((n_neurons, n_samples)).astype(np.float32)
    return values if dtype == np.float32 else (values.view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_samples", SAMPLES)
@pytest.mark.parametrize("n_neurons", NEURONS)
def test_a_matrix_comes_back_with_zeros_beyond(n_neurons, n_samples, width, dtype):
    matrix = numbers(n_neurons, n_samples, dtype)
    tiles = Tiles.of(matrix, width)
    found = tiles.matrix()
    assert tiles.shape == found.shape == (n_neurons, padded_columns(n_samples))
    assert tiles.values.dtype == found.dtype == dtype
    np.testing.assert_array_equal(found[:, :n_samples], matrix)
    assert (found[:, n_samples:] == 0).all()
    assert not np.shares_memory(tiles.values, matrix)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_samples", SAMPLES)
def test_tiles_lie_one_after_the_other_neuron_by_neuron(n_samples, width):
    matrix = np.zeros((7, padded_columns(n_samples)), np.float32)
    matrix[:, :n_samples] = numbers(7, n_samples)
    tiles = Tiles.of(matrix[:, :n_samples], width)
    place, column = 0, 0
    while column < tiles.n_columns:
        own = max(each for each in WIDTHS if each <= min(width, tiles.n_columns - column))
        for neuron in range(7):
            np.testing.assert_array_equal(tiles.values[place : place + own], matrix[neuron, column : column + own])
            place += own
        column += own
    assert place == tiles.values.size


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_samples", SAMPLES)
def test_each_tile_is_a_view_of_its_columns(n_samples, width):
    tiles = Tiles.of(numbers(3, n_samples), width)
    expected, next_first = tiles.matrix().copy(), 0
    for first, tile in tiles:
        assert first == next_first
        assert tile.shape[1] in WIDTHS
        assert tile.shape[1] <= width
        np.testing.assert_array_equal(tile, expected[:, first : first + tile.shape[1]])
        tile[:] += 1
        next_first += tile.shape[1]
    assert next_first == tiles.n_columns
    np.testing.assert_array_equal(tiles.matrix(), expected + 1)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_columns", range(PADDING, 256 + 1, PADDING))
def test_a_batch_is_a_single_tile_if_it_is_as_wide_as_one(n_columns, width):
    tiles = Tiles.of(numbers(3, n_columns), width)
    assert tiles.is_single == (n_columns <= width and n_columns in WIDTHS)
    assert tiles.is_single == (len(list(tiles)) == 1)
    assert np.shares_memory(tiles.matrix(), tiles.values) == tiles.is_single


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
@pytest.mark.parametrize("width", WIDTHS)
def test_tiles_alike_are_of_the_same_batch(width, dtype):
    tiles = Tiles.of(numbers(3, 37, dtype), width)
    other = tiles.like(5)
    assert other.shape == (5, tiles.n_columns)
    assert other.width == width
    assert other.values.dtype == dtype
    assert not np.shares_memory(other.values, tiles.values)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_samples", SAMPLES)
def test_every_row_of_new_tiles_starts_on_a_cache_line_or_half_of_one(n_samples, width, dtype):
    tiles = Tiles.empty(5, n_samples, width, dtype)
    line = min(CACHE_LINE, PADDING * np.dtype(dtype).itemsize)
    assert tiles.values.ctypes.data % CACHE_LINE == 0
    assert {row.ctypes.data % line for _, tile in tiles for row in tile} == {0}


@pytest.mark.parametrize("width", WIDTHS)
def test_tiles_take_the_front_of_a_buffer(width):
    buffer = aligned_empty(1000, np.float32)
    buffer[:] = 7
    tiles = Tiles.empty(3, 37, width, buffer=buffer)
    assert tiles.values.size == 3 * 48
    assert tiles.values.ctypes.data == buffer.ctypes.data
    for _, tile in tiles:
        tile[:] = 1
    assert (buffer[: 3 * 48] == 1).all()
    assert (buffer[3 * 48 :] == 7).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_matrix_may_lie_in_memory_in_any_order(width, order):
    matrix = numbers(6, 100)
    found = Tiles.of(np.asarray(matrix, order=order)[::2], width).matrix()
    np.testing.assert_array_equal(found[:, :100], matrix[::2])


def test_tiles_are_as_wide_as_the_machine_allows_unless_told_otherwise():
    assert Tiles.of(numbers(3, 300)).width == WIDTHS[-1]


@pytest.mark.parametrize("width", [0, 1, 8, 48, 2 * WIDTHS[-1]])
def test_other_widths_are_refused(width):
    with pytest.raises(AssertionError, match=str(width)):
        Tiles.of(numbers(3, 64), width)


def test_values_of_another_size_are_refused():
    with pytest.raises(AssertionError, match="143"):
        Tiles(np.zeros(143, np.float32), 3, 48, WIDTHS[0])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_samples", SAMPLES)
def test_neurons_become_those_of_places_one_after_the_other(n_samples, width):
    matrix = numbers(15, n_samples)
    tiles = Tiles.of(matrix, width)
    placed = tiles.as_places(5)
    assert (placed.n_neurons, placed.n_places, placed.batch.n_samples) == (3, 5, tiles.n_columns)
    assert placed.is_single == (placed.n_columns in WIDTHS and placed.n_columns <= width and placed.n_places == 1)
    assert np.shares_memory(placed.values, tiles.values) == tiles.is_single
    for number in range(5):
        own = placed.place(number)
        assert np.shares_memory(own.values, placed.values)
        np.testing.assert_array_equal(own.matrix(), tiles.matrix()[3 * number : 3 * number + 3])
        np.testing.assert_array_equal(own.values, Tiles.of(tiles.matrix()[3 * number : 3 * number + 3], width).values)
    np.testing.assert_array_equal(placed.places(1, 3).matrix(), np.hstack([placed.place(n).matrix() for n in (1, 2)]))
    assert [first for first, _ in placed] == [
        place * tiles.n_columns + first for place in range(5) for first, _ in tiles
    ]


def test_places_share_a_buffer_that_is_given():
    tiles, buffer = Tiles.of(numbers(6, 112), WIDTHS[0]), np.empty(700, np.float32)
    assert np.shares_memory(tiles.as_places(2, buffer).values, buffer)
    assert tiles.like(4).batch == tiles.batch
    assert tiles.as_places(3).like(4).batch == (112, 3)
