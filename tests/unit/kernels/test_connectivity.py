"""Transposing, checking, selecting and merging connections against SciPy and Python sets."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_sparse.kernels.growth import connectivity
from hpc_sparse.network.connections.topology import Topology


@st.composite
def layers(draw):
    """A small topology, which of its connections stay, and free keys to grow."""
    n_out, n_in = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    keys = sorted(draw(st.sets(st.integers(0, n_out * n_in - 1))))
    is_kept = np.array(draw(st.lists(st.booleans(), min_size=len(keys), max_size=len(keys))), np.bool_)
    topology = Topology.from_keys((n_out, n_in), np.array(keys, np.int64))
    kept = {key for key, stays in zip(keys, is_kept, strict=True) if stays}
    free = sorted(set(range(n_out * n_in)) - kept)
    ranks = sorted(draw(st.sets(st.sampled_from(range(len(free)))))) if free else []
    return topology, is_kept, free, np.array(ranks, np.int64)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 40), (43, 37), (150, 96)])
def test_transposing_groups_the_connections_by_input(make_topology, shape):
    topology = make_topology(*shape)
    t = topology.transposed
    positions = np.arange(topology.n_connections)
    matrix = scipy.sparse.csr_array((positions, topology.indices, topology.indptr), shape=shape).tocsc()
    np.testing.assert_array_equal(t.indptr, matrix.indptr)
    np.testing.assert_array_equal(t.outs, matrix.indices)
    np.testing.assert_array_equal(t.position, matrix.data)


@given(layers())
def test_free_keys_are_found_by_their_rank(layer):
    topology, is_kept, free, ranks = layer
    keys = np.full(ranks.size, -1, np.int64)
    connectivity.free_keys(topology.indptr, topology.indices, is_kept, topology.shape[1], ranks, keys)
    assert keys.tolist() == [free[rank] for rank in ranks]


@given(layers())
def test_merging_gives_the_sorted_union_and_where_each_was(layer):
    topology, is_kept, free, ranks = layer
    grown = np.array([free[rank] for rank in ranks], np.int64)
    size = int(is_kept.sum()) + grown.size
    indptr = np.full(topology.shape[0] + 1, -1, np.int64)
    indices, old_position = np.full(size, -1, np.int32), np.full(size, -9, np.int64)
    connectivity.merge_rows(
        topology.indptr, topology.indices, is_kept, topology.shape[1], grown, indptr, indices, old_position
    )
    merged = Topology(topology.shape, indptr, indices)
    merged.check()
    old_keys = topology.keys()
    was_at = {int(key): position for position, key in enumerate(old_keys) if is_kept[position]}
    assert merged.keys().tolist() == sorted([*was_at, *grown.tolist()])
    assert old_position.tolist() == [was_at.get(key, -1) for key in merged.keys().tolist()]


weights = st.lists(st.sampled_from([-2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0]), max_size=12)


@given(weights, st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=200)
def test_marks_drop_the_weak_and_the_first_of_the_ties(values, limit, positive_ties, negative_ties):
    weight = np.array(values, np.float32)
    is_kept = np.empty(weight.size, np.bool_)
    n_kept = connectivity.mark_kept(
        weight, np.float32(limit), positive_ties, np.float32(-limit), negative_ties, is_kept
    )
    left = {True: positive_ties, False: negative_ties}
    expected = []
    for value in values:
        is_tie_dropped = abs(value) == limit and left[value >= 0] > 0
        left[value >= 0] -= is_tie_dropped
        expected.append(abs(value) >= limit and not is_tie_dropped)
    assert is_kept.tolist() == expected
    assert n_kept == sum(expected)


@pytest.mark.parametrize(
    ("columns", "wrong"),
    [([0, 2, 1, 3], -1), ([0, 0, 1, 3], 1), ([2, 0, 1, 3], 1), ([0, 2, 1, 4], 3), ([-1, 2, 1, 3], 0)],
)
def test_the_first_disorder_is_found(columns, wrong):
    indptr = np.array([0, 2, 2, 4], np.int64)
    assert connectivity.first_disorder(indptr, np.array(columns, np.int32), 4) == wrong


def test_values_are_carried_and_grown_ones_filled(on_every_thread_count):
    old = np.arange(5, dtype=np.float32)
    old_position = np.array([4, -1, 0, 0, -1, 3])

    def carry():
        out = np.empty(6, np.float32)
        connectivity.carry_over(old, old_position, np.float32(-7), out)
        return out.tolist()

    assert on_every_thread_count(carry) == [[4, -7, 0, 0, -7, 3]] * 2
