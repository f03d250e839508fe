"""Strengths of neurons and what survives their removal, against dense NumPy arrays."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.growth import compaction

SHAPES = [(1, 1), (3, 1), (1, 40), (43, 37), (150, 96)]


@pytest.mark.parametrize("shape", SHAPES)
def test_strengths_are_the_absolute_row_and_column_sums(make_connections, shape):
    layer = make_connections(*shape)
    topology, dense = layer.topology, np.abs(layer.matrix.toarray())
    incoming, outgoing = np.full(shape[0], np.nan), np.full(shape[1], np.nan)
    compaction.incoming_strength(topology.indptr, layer.weight, topology.bounds, incoming)
    compaction.outgoing_strength(topology.indices, layer.weight, outgoing)
    np.testing.assert_allclose(incoming, dense.sum(axis=1), rtol=1e-14)
    np.testing.assert_allclose(outgoing, dense.sum(axis=0), rtol=1e-14)
    assert (incoming[topology.fan_in() == 0] == 0).all()


def test_strengths_are_summed_in_double_precision():
    weight = np.array([1e8, *[1.0] * 100], np.float32)
    indptr, out = np.array([0, 101], np.int64), np.empty(1)
    compaction.incoming_strength(indptr, weight, np.array([0, 1]), out)
    assert out[0] == 1e8 + 100
    compaction.outgoing_strength(np.zeros(101, np.int32), -weight, out)
    assert out[0] == 1e8 + 100


def test_the_number_of_threads_changes_no_bit_of_a_strength(make_connections, on_every_thread_count):
    layer = make_connections(150, 96)

    def strengths():
        out = np.empty(150)
        compaction.incoming_strength(layer.topology.indptr, layer.weight, layer.topology.bounds, out)
        return out.tobytes()

    alone, together = on_every_thread_count(strengths)
    assert alone == together


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_survivors_are_the_connections_of_the_dense_submatrix(make_topology, on_every_thread_count, shape, share):
    topology = make_topology(*shape)
    rng = np.random.default_rng(5)
    rows, columns = (np.flatnonzero(rng.random(n) < share) for n in shape)
    new_column = np.full(shape[1], -1, np.int32)
    new_column[columns] = np.arange(columns.size)
    position = np.full(shape, -1)
    position.flat[topology.keys()] = np.arange(topology.n_connections)
    expected = position[np.ix_(rows, columns)]

    def survivors():
        indptr = np.zeros(rows.size + 1, np.int64)
        compaction.count_survivors(topology.indptr, topology.indices, rows, new_column, indptr[1:])
        indptr = np.cumsum(indptr)
        indices, old_position = np.full(indptr[-1], -1, np.int32), np.full(indptr[-1], -1)
        compaction.fill_survivors(topology.indptr, topology.indices, rows, new_column, indptr, indices, old_position)
        return indptr.tolist(), indices.tolist(), old_position.tolist()

    for indptr, indices, old_position in on_every_thread_count(survivors):
        assert np.diff(indptr).tolist() == (expected >= 0).sum(axis=1).tolist()
        assert indices == np.nonzero(expected >= 0)[1].tolist()
        assert old_position == expected[expected >= 0].tolist()


def test_a_row_marked_as_cut_comes_out_empty():
    indptr, indices = np.array([0, 2, 3], np.int64), np.array([0, 1, 1], np.int32)
    counts = np.full(2, -1)
    compaction.count_survivors(indptr, indices, np.array([-1, 1]), np.array([0, 1], np.int32), counts)
    assert counts.tolist() == [0, 1]
    new_indices, old_position = np.empty(1, np.int32), np.empty(1, np.int64)
    arguments = (indptr, indices, np.array([-1, 1]), np.array([0, 1], np.int32), np.array([0, 0, 1]))
    compaction.fill_survivors(*arguments, new_indices, old_position)
    assert (new_indices.tolist(), old_position.tolist()) == ([1], [2])


@pytest.mark.parametrize(
    ("kept_outputs", "kept_inputs", "expected"),
    [([1, 1, 1], [0, 1], True), ([1, 1, 0], [1, 0], True), ([0, 1, 1], [1, 0], False), ([0, 1, 0], [1, 1], False)],
)
def test_it_is_seen_whether_any_connection_survives(kept_outputs, kept_inputs, expected):
    indptr, indices = np.array([0, 1, 1, 2], np.int64), np.array([0, 1], np.int32)
    masks = np.array(kept_outputs, np.bool_), np.array(kept_inputs, np.bool_)
    assert compaction.has_survivor(indptr, indices, *masks) == expected
