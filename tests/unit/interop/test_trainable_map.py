"""The map beneath the layer for PyTorch against NumPy in float64."""

from __future__ import annotations

import copy
import tracemalloc

import numpy as np
import pytest

from hpc_sparse.errors import ArrayError, InputError, ParameterError
from hpc_sparse.interop.first_connections import ALONE, connections_of, draw_connections, find_strategy
from hpc_sparse.interop.trainable_map import TrainableMap, to_rows, to_tiles
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.kernels.threads import at_most_threads
from hpc_sparse.network.tiles import Tiles

SHAPE = N_OUT, N_IN = 23, 37


def make_map(strategy="set", density=0.2):
    return TrainableMap(
        draw_connections(SHAPE, "erdos_renyi", "normal", 5, density=density), find_strategy(strategy), "normal", 5
    )


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("n_samples", "n"), [(1, 1), (16, 37), (37, 40), (130, 64), (233, 5)])
def test_rows_become_tiles_and_rows_again(n_samples, n, width):
    rows = normal(n_samples, n)
    tiles = to_tiles(rows, width)
    assert tiles.values.tobytes() == Tiles.of(rows.T, width).values.tobytes()
    assert to_rows(tiles, n_samples).tobytes() == rows.tobytes()


@pytest.mark.parametrize("density", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("n_samples", [1, 16, 37, 300])
def test_product_and_gradients(n_samples, density):
    linear, samples, delta, bias = (
        make_map(density=density),
        normal(n_samples, N_IN),
        normal(n_samples, N_OUT),
        normal(N_OUT),
    )
    weight = normal(linear.connections.weight.size)
    matrix = linear.connections.matrix(weight).toarray().astype(np.float64)
    outputs, source = linear.product(samples, weight, bias)
    np.testing.assert_allclose(outputs, samples @ matrix.T + bias, rtol=1e-4, atol=1e-4)
    both, below = linear.gradients(delta, source, weight), linear.gradients(delta, source, weight, of_parameters=False)
    alone = linear.gradients(delta, source, weight, of_samples=False)
    np.testing.assert_allclose(both.samples, delta @ matrix, rtol=1e-4, atol=1e-4)
    topology = linear.connections.topology
    expected = (delta.T.astype(np.float64) @ samples)[topology.outs(), topology.indices]
    np.testing.assert_allclose(both.weight, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(both.bias, delta.sum(axis=0), rtol=1e-4, atol=1e-4)
    assert below.samples.tobytes() == both.samples.tobytes()
    assert below.weight is below.bias is alone.samples is None
    np.testing.assert_allclose(alone.weight, both.weight, rtol=1e-4, atol=1e-4)
    assert alone.bias.tobytes() == both.bias.tobytes()


def test_threads_change_no_bit():
    linear, samples, delta = make_map(), normal(90, N_IN), normal(90, N_OUT)
    weight, found = linear.connections.weight, []
    for n_threads in (1, 2):
        with at_most_threads(n_threads):
            outputs, source = linear.product(samples, weight, np.zeros(N_OUT, np.float32))
            gradients = linear.gradients(delta, source, weight)
        found.append([array.tobytes() for array in (outputs, *gradients)])
    assert found[0] == found[1]


@pytest.mark.parametrize("strategy", list(ALONE))
def test_connections_come_and_go_and_the_weights_of_others_stay(strategy):
    linear, samples, delta = make_map(strategy), normal(90, N_IN), normal(90, N_OUT)
    for _ in range(3):
        weight = normal(linear.connections.weight.size)
        _, source = linear.product(samples, weight, np.zeros(N_OUT, np.float32))
        linear.gradients(delta, source, weight)
        before = linear.connections.topology.matrix(weight).toarray()
        change, after = linear.evolve(weight, 0.3)
        change.topology.check()
        assert after.size == weight.size
        assert 0 < change.n_grown <= 0.3 * weight.size + 2
        stays = change.old_position >= 0
        now = change.topology
        np.testing.assert_array_equal(after[stays], before[now.outs(), now.indices][stays])
        assert (after[~stays] != 0).any() == (strategy == "set")
    assert linear.n_changes == 3


@pytest.mark.parametrize("strategy", ["set", "gse"])
def test_nothing_is_as_large_as_a_dense_layer(strategy):
    n, samples = 200_000, np.ones((3, 200_000), np.float32)
    connections = draw_connections((n, n), "erdos_renyi", "normal", 5, fan_in=2)
    linear = TrainableMap(connections, find_strategy(strategy), "normal", 5)
    tracemalloc.start()
    try:
        outputs, source = linear.product(samples, connections.weight, np.zeros(n, np.float32))
        gradients = linear.gradients(outputs, source, connections.weight)
        linear.evolve(connections.weight, 0.3)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert gradients.weight.size == 2 * n
    assert most < 4 * n * n / 500


def test_the_same_seed_makes_the_same_changes_also_of_a_copy():
    first = make_map()
    second = copy.deepcopy(first)
    for linear in (first, second):
        for _ in range(2):
            linear.evolve(linear.connections.weight, 0.4)
    assert first.connections.topology.indices.tobytes() == second.connections.topology.indices.tobytes()
    assert first.connections.weight.tobytes() == second.connections.weight.tobytes()


def test_growing_by_gradients_needs_a_backward_pass_since_the_last_change():
    linear = make_map("rigl")
    with pytest.raises(InputError, match="expected a backward pass since the last change"):
        linear.evolve(linear.connections.weight, 0.3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "no density: expected one of density, epsilon and fan_in"),
        ({"density": 0.5, "fan_in": 3}, "density and fan_in: expected one of"),
        ({"density": 0.0}, "density = 0.0: expected a number above 0 and at most 1"),
        ({"density": float("nan")}, "density = nan: expected"),
        ({"density": True}, "density = True: expected"),
        ({"epsilon": -1}, "epsilon = -1: expected a number above 0"),
        ({"fan_in": 38}, "fan_in = 38: expected a whole number from 1 to 37, the in_features"),
        ({"fan_in": 2.5}, "fan_in = 2.5: expected"),
    ],
)
def test_wrong_amounts_are_refused(settings, said):
    with pytest.raises(ParameterError, match=said):
        draw_connections(SHAPE, "erdos_renyi", "normal", 1, **settings)


def test_amounts_are_met():
    assert (draw_connections(SHAPE, "erdos_renyi", "normal", 1, fan_in=4).topology.fan_in() == 4).all()
    assert draw_connections(SHAPE, "small_world", "normal", 1, density=0.1).weight.size == round(0.1 * N_IN * N_OUT)
    expected = 3 * (N_IN + N_OUT)
    assert abs(draw_connections(SHAPE, "erdos_renyi", "normal", 1, epsilon=3).weight.size - expected) < 60
    with pytest.raises(ParameterError, match='initial_topology = "ring": expected one of erdos_renyi, constant_fan_in'):
        draw_connections(SHAPE, "ring", "normal", 1, density=0.1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"indices": np.int32([1, 9])}, r"M: indices: 9 in row 1: must be >= 0 and < 3"),
        ({"indptr": np.int32([0, 2])}, "M: indptr: 2 numbers: expected 3 for 2 out_features"),
        ({"indptr": np.int32([0, 3, 2])}, "indptr: falls"),
        ({"indptr": np.int32([0, 2, 2]), "indices": np.int32([1, 1])}, "must be sorted without duplicates"),
        ({"values": np.float64([1, 2])}, r"values: float64\[2\]: expected float32\[2\]"),
        ({"values": np.float32([1, np.inf])}, r"M: values\[1\] = inf: must be finite"),
        ({"indices": np.float32([0, 1])}, "indices: float32"),
    ],
)
def test_foreign_connections_are_checked(change, said):
    given = {"indptr": np.int32([0, 1, 2]), "indices": np.int32([0, 2]), "values": np.float32([1, 2])}
    np.testing.assert_array_equal(connections_of("M", **given, shape=(2, 3)).to_csr().toarray(), [[1, 0, 0], [0, 0, 2]])
    with pytest.raises(ArrayError, match=said):
        connections_of("M", **{**given, **change}, shape=(2, 3))
