"""Signals pass through the largest weights, gradients reach all."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.connections import reserve
from hpc_sparse.network.connections.protocol import Epilogue, Gate
from hpc_sparse.network.connections.registry import unstructured, with_reserve
from hpc_sparse.network.connections.reserve import acting_weight, n_acting
from hpc_sparse.network.dropout import NO_DROPOUT
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles


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


def make_pair(make_connections, share, width=machine.WIDTHS[-1]):
    """A network in part of which a share acts, and one whose weights are 0 where that one's do not act."""
    parts = [make_connections(23, 31), make_connections(17, 23, 5), make_connections(4, 17, 9)]
    networks = []
    for thinned in (False, True):
        layers = [SparseLayer.of(part.topology, part.weight.copy(), part.bias.copy(), 0.3) for part in parts]
        for layer in layers[:-1]:
            if thinned:
                layer.weight = acting_weight(layer.weight, share)
            else:
                layer.incoming = with_reserve(layer.incoming, share)
        networks.append(Network(layers, tile_width=width))
    return networks


def room_for_gradients(network):
    return [{"weight": np.empty_like(layer.weight), "bias": np.empty_like(layer.bias)} for layer in network.layers]


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_batch", [10, 128, 240])
def test_forward_backward_and_gradients_are_those_of_the_network_without_the_reserve(
    make_connections, make_columns, n_batch, width
):
    batch, labels = Tiles.of(make_columns(31, n_batch), width), np.arange(n_batch, dtype=np.int32) % 4
    results = []
    for network in make_pair(make_connections, 0.4, width):
        workspace = network.make_workspace(n_batch)
        out = network.forward(batch, workspace).values.copy()
        gradients = room_for_gradients(network)
        loss = network.gradient_batch(batch, labels, CrossEntropy(), [NO_DROPOUT] * 2, workspace, gradients)
        delta, below = Tiles.of(make_columns(17, n_batch, seed=3), width), batch.like(23)
        gate = Gate(np.float32(0.3), NO_DROPOUT.scale, workspace.saved(batch.n_columns)[0]["record"])
        network.layers[1].backward(delta, None, {}, gate, None, below)
        results.append([out, below.values, np.array(loss), *(array for own in gradients for array in own.values())])
    for reserved, thinned in zip(*results, strict=True):
        np.testing.assert_array_equal(reserved, thinned)


def test_a_connection_that_does_not_act_learns(make_connections, make_columns):
    network, thinned = make_pair(make_connections, 0.4)
    batch, labels = Tiles.of(make_columns(31, 10)), np.arange(10, dtype=np.int32) % 4
    gradients = room_for_gradients(network)
    workspace = network.make_workspace(10)
    network.gradient_batch(batch, labels, CrossEntropy(), [NO_DROPOUT] * 2, workspace, gradients)
    in_reserve = thinned.layers[1].weight == 0
    assert in_reserve.any()
    assert gradients[1]["weight"][in_reserve].any()


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_batch", [10, 128])
def test_what_acts_is_chosen_once_per_training_step_and_not_kept(
    make_connections, make_columns, monkeypatch, n_batch, width
):
    chosen = []
    monkeypatch.setattr(reserve, "acting_weight", lambda *each: chosen.append(each) or acting_weight(*each))
    network, _ = make_pair(make_connections, 0.4, width)
    replica, workspace = Replica.at_rest(network), network.make_workspace(n_batch)
    batch, labels = Tiles.of(make_columns(31, n_batch), width), np.arange(n_batch, dtype=np.int32) % 4
    for n_steps in (1, 2, 3):
        replica.train_batch(batch, labels, CrossEntropy(), [NO_DROPOUT] * 2, Sgd(0.9), 0.1, workspace)
        assert len(chosen) == 2 * n_steps
        weights = [weight for weight, _ in chosen[-2:]]
        assert all(weight is layer.weight for weight, layer in zip(weights, network.layers, strict=False))
        assert all(layer.incoming._acting is None for layer in network.layers[:-1])
    network.forward(batch, workspace)
    assert len(chosen) == 8
    assert all(layer.incoming._acting is None for layer in network.layers[:-1])


def test_deltas_after_a_step_pass_through_what_acts_now(make_connections, make_columns):
    network, _ = make_pair(make_connections, 0.4)
    connections, delta = network.layers[1].incoming, Tiles.of(make_columns(17, 10))
    before, after, expected = (delta.like(23) for _ in range(3))
    connections.transposed(delta, None, before)
    epilogue = Epilogue(network.layers[1].bias, np.float32(1))
    connections.product(Tiles.of(make_columns(23, 10)), epilogue, delta.like(17))
    connections.weight[:] = connections.weight[::-1].copy()
    connections.transposed(delta, None, after)
    unstructured(connections.topology, acting_weight(connections.weight, 0.4)).transposed(delta, None, expected)
    np.testing.assert_array_equal(after.values, expected.values)
    assert not np.array_equal(before.values, after.values)
