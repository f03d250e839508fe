"""Signals pass through the largest weights, gradients reach all."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.network.connections.reserve import acting_weight, n_acting
from hpc_sparse.network.layer_signals import NO_DROPOUT
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network, Workspace
from hpc_sparse.network.objectives.losses import LOSSES


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.999])
def test_the_largest_weights_act_as_they_are_and_the_others_as_zeros(share):
    weight = np.random.default_rng(1).standard_normal(301).astype(np.float32)
    found = acting_weight(weight, share)
    acts = np.argsort(-np.abs(weight))[: n_acting(301, share)]
    expected = np.zeros(301, np.float32)
    expected[acts] = weight[acts]
    np.testing.assert_array_equal(found, expected)


def test_where_all_act_nothing_is_copied():
    weight = np.ones(3, np.float32)
    assert acting_weight(weight, 1.0) is weight
    assert acting_weight(weight[:0], 0.5).size == 0
    assert acting_weight(weight[:1], 0.01).tolist() == [1.0]


def make_pair(make_connections, share):
    """A network in part of which a share acts, and one whose weights are 0 where that one's do not act."""
    parts = [make_connections(23, 31), make_connections(17, 23, 5), make_connections(4, 17, 9)]
    networks = []
    for thinned in (False, True):
        layers = [SparseLayer(part.topology, part.weight.copy(), part.bias.copy(), 0.3) for part in parts]
        for layer in layers[:-1]:
            if thinned:
                layer.weight = acting_weight(layer.weight, share)
            else:
                layer.acting_share = share
        networks.append(Network(layers))
    return networks


@pytest.mark.parametrize("n_batch", [10, 128])
def test_forward_backward_and_gradients_are_those_of_the_network_without_the_reserve(
    make_connections, make_columns, n_batch
):
    batch, labels = make_columns(31, n_batch), np.arange(n_batch, dtype=np.int32) % 4
    results = []
    for network in make_pair(make_connections, 0.4):
        workspace = Workspace(network.widths, n_batch)
        out = network.forward(batch, workspace).copy()
        gradients = [(np.empty_like(layer.weight), np.empty_like(layer.bias)) for layer in network.layers]
        loss = network.gradient_batch(batch, labels, LOSSES["cross_entropy"], [NO_DROPOUT] * 2, workspace, gradients)
        delta, below = make_columns(17, n_batch, seed=3), aligned_empty((23, batch.shape[1]), np.float32)
        record = workspace.records(batch.shape[1])[0]
        network.layers[1].backward(delta, network.layers[0], NO_DROPOUT, record, below)
        results.append([out, below, np.array(loss), *(array for pair in gradients for array in pair)])
    for with_reserve, without in zip(*results, strict=True):
        np.testing.assert_array_equal(with_reserve, without)


def test_a_connection_that_does_not_act_learns(make_connections, make_columns):
    network, thinned = make_pair(make_connections, 0.4)
    batch, labels = make_columns(31, 10), np.arange(10, dtype=np.int32) % 4
    gradients = [(np.empty_like(layer.weight), np.empty_like(layer.bias)) for layer in network.layers]
    workspace = Workspace(network.widths, 10)
    network.gradient_batch(batch, labels, LOSSES["cross_entropy"], [NO_DROPOUT] * 2, workspace, gradients)
    in_reserve = thinned.layers[1].weight == 0
    assert in_reserve.any()
    assert gradients[1][0][in_reserve].any()
