"""Shared connections and distances of all pairs, against dense NumPy arrays."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.analysis import comparison

SHAPES = [(1, 1), (5, 1), (1, 40), (43, 37), (150, 96)]


def dense(topology):
    mask = np.zeros(topology.shape, np.int64)
    mask.flat[topology.keys()] = 1
    return mask


@pytest.mark.parametrize("shape", SHAPES)
def test_common_connections_are_counted_row_by_row(make_topology, on_every_thread_count, shape):
    own, other = make_topology(*shape, seed=1), make_topology(*shape, seed=2)
    partner = np.random.default_rng(0).permutation(shape[0]).astype(np.int32)

    def count():
        out = np.full(shape[0], -1)
        comparison.count_common(own.indptr, own.indices, other.indptr, other.indices, partner, out)
        return out.tolist()

    for found in on_every_thread_count(count):
        assert found == (dense(own) * dense(other)[partner]).sum(axis=1).tolist()


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_of_all_pairs_are_the_dense_ones(make_topology, on_every_thread_count, shape):
    own, other = make_topology(*shape, seed=1), make_topology(*shape, seed=2)
    a, b = dense(own), dense(other)
    common = a @ b.T
    either = a.sum(axis=1)[:, None] + b.sum(axis=1) - common
    expected = np.where(either == 0, 0, (either - common) / np.maximum(either, 1)).astype(np.float32)
    by_input = other.transposed

    def distances():
        out = np.full((shape[0], shape[0]), np.nan)
        comparison.fill_distances(own.indptr, own.indices, other.indptr, by_input.indptr, by_input.outs, out)
        return out

    for found in on_every_thread_count(distances):
        np.testing.assert_array_equal(found, expected)
