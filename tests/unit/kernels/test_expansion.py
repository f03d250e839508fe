"""Numbers of neurons from one-byte numbers within groups."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from hpc_sparse.kernels.patterns.expansion import OVERRUN, expand_columns, expand_rows, panel_stop
from hpc_sparse.network.connections.group_pattern import GroupPattern
from hpc_sparse.network.connections.grouped_index import GroupedIndex

SHAPES = [("3:7", 270, 101), ("200:256", 700, 300), ("1:4", 5, 9)]


@njit
def run_rows(position, base, first, n_rows, ins):
    expand_rows(position, base, first, n_rows, ins)


@njit
def run_columns(outs, slots, counts, starts, n, m, fan_in, first, stop, neurons, places):
    expand_columns(outs, slots, counts, starts, n, m, fan_in, first, stop, neurons, places)


@pytest.mark.parametrize(("pattern", "n_out", "n_in"), SHAPES)
def test_rows_are_those_of_the_topology(pattern, n_out, n_in):
    index = GroupedIndex.random((n_out, n_in), GroupPattern.parse(pattern), np.uint64(2))
    rows, first, n_rows = index.topology().indices.reshape(n_out, -1), n_out // 3, n_out // 2
    ins = np.empty(n_rows * index.fan_in, np.int32)
    run_rows(index.position, index.base, first, n_rows, ins)
    np.testing.assert_array_equal(ins, rows[first : first + n_rows].reshape(-1))


@pytest.mark.parametrize("places_dtype", [np.int32, np.int64])
@pytest.mark.parametrize(("pattern", "n_out", "n_in"), SHAPES)
def test_columns_are_those_of_the_transposed_topology(pattern, n_out, n_in, places_dtype):
    index = GroupedIndex.random((n_out, n_in), GroupPattern.parse(pattern), np.uint64(2))
    transposed, first = index.topology().transposed, n_in // 3
    stop = panel_stop(index.columns.starts, first, n_in)
    begin, end = transposed.indptr[[first, stop]]
    neurons, places = (np.empty(end - begin + OVERRUN, dtype) for dtype in (np.int32, places_dtype))
    run_columns(*index.columns, first, stop, neurons, places)
    np.testing.assert_array_equal(neurons[: end - begin], transposed.outs[begin:end])
    np.testing.assert_array_equal(places[: end - begin], transposed.position[begin:end])


def test_a_panel_has_one_row_at_least_and_ends_with_the_rows():
    starts = np.array([0, 5000, 5001, 5002], np.int32)
    assert [panel_stop(starts, first, 3) for first in range(3)] == [1, 3, 3]
