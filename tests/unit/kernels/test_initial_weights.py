"""Initial weights: their distribution, and that they depend on the connection's key only."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hpc_sparse.kernels.sparse.initial_weights import fill_normal, fill_uniform
from hpc_sparse.network.connections.initial_weights import INITIALIZERS, draw_grown_weights, draw_weights
from hpc_sparse.network.connections.topology import Topology

KEY = np.uint64(77)


def test_uniform_weights_fill_each_row_to_its_bound():
    topology = Topology.random((100, 1000), 0.5, np.uint64(1))
    row_bound = np.linspace(0.01, 3.0, 100)
    weight = np.full(topology.n_connections, np.nan, np.float32)
    grown = np.full(weight.size, -1, np.int64)
    fill_uniform(topology.indptr, topology.indices, grown, 0, 1000, row_bound, KEY, topology.bounds, weight)
    relative = weight / np.repeat(row_bound, topology.fan_in())
    assert np.abs(relative).max() <= 1 + 1e-6
    assert stats.kstest(relative, stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_normal_weights_are_normal():
    topology = Topology.random((100, 1000), 0.5, np.uint64(1))
    weight = np.full(topology.n_connections, np.nan, np.float32)
    grown = np.full(weight.size, -1, np.int64)
    fill_normal(topology.indptr, topology.indices, grown, 0, 1000, 0.1, KEY, topology.bounds, weight)
    assert stats.kstest(weight, stats.norm(0, 0.1).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(weight[1:], weight[:-1])[0, 1]) < 5 / np.sqrt(weight.size)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_kept_weights_stay_and_grown_ones_are_drawn(name):
    topology = Topology.random((30, 40), 0.3, np.uint64(1))
    drawn = draw_weights(name, topology, KEY)
    old_position = np.where(np.arange(drawn.size) % 3 == 0, -1, 5)
    weight = np.full(drawn.size, 9, np.float32)
    draw_grown_weights(name, topology, old_position, KEY, weight)
    np.testing.assert_array_equal(weight, np.where(old_position < 0, drawn, np.float32(9)))


@pytest.mark.parametrize("name", ["he_uniform", "xavier_uniform", "normal"])
def test_the_value_depends_on_the_connection_not_on_the_others(name):
    sparse, dense = (Topology.random((30, 40), density, np.uint64(1)) for density in (0.2, 1.0))
    expected = draw_weights(name, dense, KEY)[sparse.keys()]
    np.testing.assert_array_equal(draw_weights(name, sparse, KEY), expected)
    assert not np.array_equal(draw_weights(name, sparse, np.uint64(78)), expected)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_number_of_threads_changes_no_bit(name, on_every_thread_count):
    topology = Topology.random((300, 40), 0.3, np.uint64(1))
    alone, together = on_every_thread_count(lambda: draw_weights(name, topology, KEY).tobytes())
    assert alone == together


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_rows_of_a_part_have_the_weights_that_they_have_in_the_whole_layer(name):
    whole = Topology.random((60, 30), 0.3, KEY)
    start = whole.indptr[25]
    part = Topology((35, 30), whole.indptr[25:] - start, whole.indices[start:])
    found = draw_weights(name, part, KEY, first_row=25)
    # The bound of xavier_uniform is of the layer's width, which a part does not know.
    expected = draw_weights(name, whole, KEY)[start:]
    if name == "xavier_uniform":
        expected *= np.sqrt(np.float32(90 / 65))
    np.testing.assert_allclose(found, expected, rtol=1e-6 if name == "xavier_uniform" else 0)


def test_a_part_of_an_erdos_renyi_topology_is_that_of_the_whole():
    whole, part = Topology.random((60, 30), 0.3, KEY), Topology.random((35, 30), 0.3, KEY, first_row=25)
    np.testing.assert_array_equal(part.indices, whole.indices[whole.indptr[25] :])
