"""Networks of every kind come to the same topologies, or are refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.analysis.topologies import as_topologies, in_original_numbers, sum_incoming, sum_outgoing
from hpc_sparse.errors import InputError
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.network import Network


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "csr_matrix"])
def test_every_kind_of_matrix_gives_the_topology_of_its_columns(make_masks, to_topologies, kind):
    masks = make_masks()
    make = scipy.sparse.csr_matrix if kind == "csr_matrix" else getattr(scipy.sparse, f"{kind}_array")
    found = as_topologies([make(-0.5 * mask) for mask in masks])
    for topology, expected in zip(found, to_topologies(masks), strict=True):
        topology.check()
        assert topology.shape == expected.shape
        np.testing.assert_array_equal(topology.keys(), expected.keys())


def test_stored_zeros_and_duplicates_are_no_connections_of_their_own():
    rows, columns, values = [2, 0, 0, 1, 1], [0, 1, 1, 1, 1], [0.0, 2.0, 3.0, 1.0, -1.0]
    matrix = scipy.sparse.coo_array((values, (rows, columns)), shape=(3, 2))
    before = matrix.copy()
    (topology,) = as_topologies([matrix])
    topology.check()
    assert topology.keys().tolist() == [3]  # neuron 1, input 0
    assert matrix.nnz == before.nnz


def test_a_matrix_of_compressed_columns_is_not_changed():
    matrix = scipy.sparse.csc_array((np.array([1.0, 0.0]), np.array([1, 0]), np.array([0, 2])), shape=(2, 1))
    as_topologies([matrix])
    assert (matrix.nnz, matrix.indices.tolist()) == (2, [1, 0])


def test_a_network_gives_the_topologies_of_its_layers():
    settings = {"activation": "relu", "alpha": 0.0, "initializer": "he_uniform", "seed": 1}
    network = Network.random([5, 7, 3], [0.4, 0.9], **settings)
    assert [a is b.topology for a, b in zip(as_topologies(network), network.layers, strict=True)] == [True, True]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ([], "0 layers"),
        ([np.eye(3)], "ndarray"),
        (["layer"], "str"),
        ([scipy.sparse.csr_array((2, 3)), scipy.sparse.csr_array((4, 1))], "layer 1: 4 inputs: expected 3"),
        ([scipy.sparse.csr_array((0, 3))], r"shape \(0, 3\)"),
    ],
)
def test_what_is_no_network_is_refused(network, message):
    with pytest.raises(InputError, match=message):
        as_topologies(network)


def test_removed_neurons_come_back_at_their_places_without_connections(make_masks, to_topologies):
    kept = [np.array([0, 3, 4]), None, np.array([1, 5])]
    widths = (6, 4, 7)
    now = make_masks((3, 4, 2), 0.6)
    before = [np.zeros(shape, np.int64) for shape in ((6, 4), (4, 7))]
    before[0][kept[0]] = now[0]
    before[1][:, kept[2]] = now[1]
    ids = [None if numbers is None else numbers.astype(np.int32) for numbers in kept]
    found = in_original_numbers(to_topologies(now), ids, widths)
    for topology, expected in zip(found, to_topologies(before), strict=True):
        topology.check()
        assert topology.shape == expected.shape
        np.testing.assert_array_equal(topology.keys(), expected.keys())


@pytest.mark.parametrize("extra", [(), (3,)])
def test_sums_are_the_dense_products(make_masks, to_topologies, extra):
    (mask,) = make_masks((19, 8))
    (topology,) = to_topologies([mask])
    rng = np.random.default_rng(3)
    below, above = rng.random((19, *extra)), rng.random((8, *extra))
    np.testing.assert_allclose(sum_incoming(topology, below), mask.T @ below, rtol=1e-13)
    np.testing.assert_allclose(sum_outgoing(topology, above), mask @ above, rtol=1e-13)


def test_a_layer_without_connections_sums_to_zero():
    empty = Topology.empty((3, 5))
    assert sum_incoming(empty, np.ones(5)).tolist() == [0.0] * 3
    assert sum_outgoing(empty, np.ones(3)).tolist() == [0.0] * 5
