"""Random rows: every position equally likely, whoever draws them, however sparse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpc_sparse.kernels.growth import connectivity
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.partition import even_bounds

KEY = np.uint64(0x1234_5678_9ABC_DEF1)


def draw_rows(first_row, n_rows, n_in, density, key=KEY):
    """The columns of each of ``n_rows`` rows."""
    log_absent = math.log1p(-density) if density < 1 else -math.inf
    bounds, counts = even_bounds(n_rows, 7), np.full(n_rows, -1, np.int64)
    connectivity.count_random_rows(first_row, n_in, log_absent, key, bounds, counts)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.full(indptr[-1], -1, np.int32)
    connectivity.fill_random_rows(first_row, log_absent, key, bounds, indptr, indices)
    return np.split(indices, indptr[1:-1])


@pytest.mark.parametrize("density", [0.01, 0.2, 0.5, 0.97])
def test_the_number_of_connections_is_as_likely_as_binomial(density):
    n_out, n_in = 500, 401
    topology = Topology.random((n_out, n_in), density, KEY)
    topology.check()
    variance = n_in * density * (1 - density)
    fan_in = topology.fan_in()
    assert abs(fan_in.mean() - n_in * density) < 4 * math.sqrt(variance / n_out)
    assert fan_in.var() == pytest.approx(variance, rel=0.3)


def test_every_position_is_equally_likely():
    shape, density, n_draws = (9, 13), 0.3, 1500
    times = np.zeros(shape[0] * shape[1])
    for key in range(n_draws):
        times[Topology.random(shape, density, np.uint64(key)).keys()] += 1
    deviation = math.sqrt(n_draws * density * (1 - density))
    chi_square = (((times - n_draws * density) / deviation) ** 2).sum()
    assert abs(chi_square - times.size) < 4 * math.sqrt(2 * times.size)
    assert np.abs(times - n_draws * density).max() < 4.5 * deviation


def test_neighbouring_positions_and_rows_are_independent():
    density = 0.4
    topology = Topology.random((600, 500), density, KEY)
    present = np.zeros(topology.shape)
    present.flat[topology.keys()] = 1
    centred = (present - density) / math.sqrt(density * (1 - density))
    limit = 4.5 / math.sqrt(centred.size)
    assert abs((centred[:, 1:] * centred[:, :-1]).mean()) < limit
    assert abs((centred[1:] * centred[:-1]).mean()) < limit


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 40), (130, 17)])
def test_density_one_makes_every_connection(shape):
    topology = Topology.random(shape, 1.0, KEY)
    np.testing.assert_array_equal(topology.keys(), np.arange(shape[0] * shape[1]))


def test_density_zero_makes_none():
    topology = Topology.random((5, 7), 0.0, KEY)
    topology.check()
    assert topology.n_connections == 0


@pytest.mark.parametrize("density", [1e-12, 1e-17, 1e-25, 5e-324])
def test_a_tiny_density_makes_no_connections_in_a_small_layer(density):
    topology = Topology.random((1000, 2**31 - 1), density, KEY)
    topology.check()
    assert topology.n_connections <= 10


def test_a_row_of_one_position_is_drawn_with_the_density():
    n_connections = Topology.random((20_000, 1), 0.3, KEY).n_connections
    assert abs(n_connections - 6000) < 4 * math.sqrt(20_000 * 0.3 * 0.7)


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (17, 60), (99, 100)])
def test_a_block_of_rows_drawn_alone_is_the_same_as_in_the_whole(start, stop):
    whole = draw_rows(0, 100, 61, 0.15)
    for own, expected in zip(draw_rows(start, stop - start, 61, 0.15), whole[start:stop], strict=True):
        np.testing.assert_array_equal(own, expected)


def test_another_key_gives_other_connections():
    one, other = (Topology.random((50, 60), 0.2, np.uint64(key)) for key in (1, 2))
    assert len(np.intersect1d(one.keys(), other.keys())) == pytest.approx(120, abs=50)


def test_the_number_of_threads_changes_no_connection(on_every_thread_count):
    alone, together = on_every_thread_count(lambda: Topology.random((301, 203), 0.1, KEY))
    np.testing.assert_array_equal(alone.indptr, together.indptr)
    np.testing.assert_array_equal(alone.indices, together.indices)
