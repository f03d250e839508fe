"""Cutting ranges into parts: complete, disjoint, even."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_sparse.partition import Share, balanced_bounds, chunk_ranges, even_bounds, own_range


@given(st.integers(0, 10**12), st.integers(1, 300))
def test_even_parts_cover_everything_and_differ_by_one_at_most(n_items, n_parts):
    bounds = even_bounds(n_items, n_parts)
    sizes = np.diff(bounds)
    assert bounds.dtype == np.int64
    assert (bounds[0], bounds[-1], bounds.size) == (0, n_items, n_parts + 1)
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(sizes) <= 0).all()


@given(st.integers(0, 1000), st.integers(1, 40))
def test_own_ranges_are_the_even_parts(n_items, n_parts):
    bounds = even_bounds(n_items, n_parts).tolist()
    ranges = [own_range(n_items, n_parts, part) for part in range(n_parts)]
    assert ranges == list(pairwise(bounds))


@given(st.integers(0, 1000), st.integers(1, 40))
def test_shares_are_the_even_parts_or_all_or_nothing(n_items, count):
    bounds = even_bounds(n_items, count).tolist()
    assert [Share(index, count).range(n_items) for index in range(count)] == list(pairwise(bounds))
    assert Share.all().range(n_items) == (0, n_items)
    start, stop = Share.none().range(n_items)
    assert start == stop <= n_items


@pytest.mark.parametrize(("index", "count"), [(-1, 2), (2, 2), (1, 0)])
def test_a_share_that_does_not_exist_cannot_be_made(index, count):
    with pytest.raises(AssertionError, match=f"part {index} of {count}"):
        Share(index, count)


@given(st.lists(st.integers(0, 50), max_size=200), st.integers(1, 20))
def test_balanced_blocks_exceed_their_share_by_less_than_a_row(lengths, n_parts):
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    bounds = balanced_bounds(indptr, n_parts)
    assert (bounds[0], bounds[-1], bounds.size) == (0, len(lengths), n_parts + 1)
    assert (np.diff(bounds) >= 0).all()
    cost = np.diff(indptr[bounds] + bounds)
    longest = max(lengths, default=0) + 1
    assert cost.max() <= cost.sum() / n_parts + longest + 1


@given(st.integers(0, 50), st.integers(0, 100), st.integers(1, 30))
def test_chunks_cover_a_range_in_order(start, length, chunk):
    ranges = list(chunk_ranges(start, start + length, chunk))
    assert [item for a, b in ranges for item in range(a, b)] == list(range(start, start + length))
    assert all(0 < b - a <= chunk for a, b in ranges)
    assert all(b - a == chunk for a, b in ranges[:-1])


def test_long_runs_of_empty_rows_are_shared_out_too():
    sizes = np.diff(balanced_bounds(np.zeros(1001, np.int64), 8))
    assert sizes.min() >= 125
