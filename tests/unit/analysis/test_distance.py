"""The topology distance: published values, its definition on small networks, what must be 0."""

from __future__ import annotations

import inspect
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import linear_sum_assignment

from hpc_sparse.analysis import pairwise_distances, topology_distance
from hpc_sparse.analysis.matching import EXACT_WIDTH
from hpc_sparse.cli import analyze
from hpc_sparse.errors import InputError
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.parallel.context import ParallelContext

PUBLISHED = [
    ("010", 1, (0.3551, 0.3427, 0.3183), 0.3387),
    ("010", 9, (0.4477, 0.4529, 0.4357), 0.4454),
    ("190", 1, (0.4714, 0.5051, 0.4573), 0.4779),
    ("190", 9, (0.5428, 0.5801, 0.5730), 0.5653),
]
"""Epoch, network compared with network 0, distances of the layers, their mean."""


def read_published(folder: Path, network: int, epoch: str) -> list[scipy.sparse.csr_array]:
    """The layers of a published topology; the last row of each is the bias."""
    files = (folder / "nnstd" / f"w{network}_e{epoch}_l{layer}.npz" for layer in range(3))
    return [scipy.sparse.csr_array(scipy.sparse.load_npz(file))[:-1] for file in files]


def by_definition(first: list[np.ndarray], second: list[np.ndarray]) -> list[float]:
    """The distances of the layers of dense networks."""
    partner, distances = np.arange(first[0].shape[0]), []
    for own, mask in zip(first, second, strict=True):
        other = mask[partner]
        common = own.T @ other
        either = own.sum(axis=0)[:, None] + other.sum(axis=0) - common
        cost = ((either - common) / np.maximum(either, 1)).astype(np.float32)
        rows, partner = linear_sum_assignment(cost)
        distances.append(float(cost[rows, partner].mean()))
    return distances


def permuted(masks: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """The same network with its hidden and output neurons in another order."""
    rng = np.random.default_rng(seed)
    rows, found = np.arange(masks[0].shape[0]), []
    for mask in masks:
        columns = rng.permutation(mask.shape[1])
        found.append(mask[rows][:, columns])
        rows = columns
    return found


@pytest.mark.parametrize(("epoch", "network", "per_layer", "mean"), PUBLISHED)
def test_published_topologies_are_as_far_apart_as_published(real_data, epoch, network, per_layer, mean):
    found = topology_distance(read_published(real_data, 0, epoch), read_published(real_data, network, epoch))
    assert [round(value, 4) for value in found.per_layer] == list(per_layer)
    assert round(found.mean, 4) == mean
    assert found.excess == (0, 0, 0)


@pytest.mark.parametrize("exact_width", [2048, 0])
def test_a_published_topology_is_at_no_distance_from_itself(real_data, exact_width):
    network = read_published(real_data, 0, "190")
    assert topology_distance(network, network, exact_width=exact_width).per_layer == (0, 0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_small_networks_are_as_far_apart_as_defined(make_masks, to_sparse, seed):
    first, second = make_masks(seed=seed), make_masks(seed=seed + 10)
    expected = by_definition(first, second)
    found = topology_distance(to_sparse(first), to_sparse(second))
    np.testing.assert_allclose(found.per_layer, expected, atol=1e-6)
    assert found.mean == pytest.approx(np.mean(expected), abs=1e-6)
    assert 0 < found.mean < 1


@pytest.mark.parametrize("exact_width", [2048, 0])
def test_a_permuted_copy_without_ties_is_at_no_distance(make_masks, to_sparse, exact_width):
    masks = make_masks((50, 40, 30, 20), 0.4)
    assert all(np.unique(mask, axis=1).shape == mask.shape for mask in masks), "ties"
    found = topology_distance(to_sparse(masks), to_sparse(permuted(masks, 1)), exact_width=exact_width)
    assert found.per_layer == (0, 0, 0)


def test_the_first_layer_does_not_care_which_network_comes_first(make_masks, to_sparse):
    first, second = (to_sparse(make_masks(seed=seed)) for seed in (1, 2))
    there, back = topology_distance(first, second), topology_distance(second, first)
    assert there.per_layer[0] == pytest.approx(back.per_layer[0], abs=1e-6)


def test_networks_without_a_common_input_are_at_distance_1():
    first = [scipy.sparse.csr_array(np.array([[1, 1], [0, 0]]))]
    second = [scipy.sparse.csr_array(np.array([[0, 0], [1, 1]]))]
    for exact_width in (2048, 0):
        assert topology_distance(first, second, exact_width=exact_width).per_layer == (1,)


def test_networks_of_other_widths_are_refused(make_masks, to_sparse):
    with pytest.raises(InputError, match="17-23-4 and 17-22-4"):
        topology_distance(to_sparse(make_masks((17, 23, 4))), to_sparse(make_masks((17, 22, 4))))


def test_all_pairs_are_compared_in_order(make_masks, to_sparse):
    networks = [to_sparse(make_masks(seed=seed)) for seed in range(3)]
    found = pairwise_distances(ParallelContext.serial(threads=1), networks)
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    for (first, second), distance in found.items():
        assert distance == topology_distance(networks[first], networks[second])


def test_a_layer_of_a_thousand_neurons_takes_less_than_two_seconds():
    first, second = ([Topology.random((1000, 1000), 0.04, np.uint64(seed))] for seed in (1, 2))
    topology_distance(first, first)  # compiles
    before = time.process_time()
    topology_distance(first, second)
    assert time.process_time() - before < 2


def test_a_layer_of_ten_thousand_neurons_needs_memory_for_its_connections_only():
    first, second = ([Topology.random((10_000, 10_000), 0.001, np.uint64(seed))] for seed in (1, 2))
    n_connections = first[0].n_connections
    tracemalloc.start()
    found = topology_distance(first, second)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.9 < found.mean < 1
    assert found.excess[0] <= 1e-4
    assert peak < 100 * n_connections + 500 * 10_000 < 20e6 < 8 * 10_000**2 / 10


def test_the_command_pairs_exactly_as_wide_layers_as_the_function():
    parameters = inspect.signature(analyze.distance).parameters
    assert parameters["exact_width"].default == EXACT_WIDTH
