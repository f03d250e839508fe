"""Networks without some of their neurons, against dense float64 networks in which those neurons are zeroed."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.activations import LINEAR
from hpc_sparse.network.connections.compaction import cut_incoming, keep_connected, remove_neurons
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles

WIDTHS = [23, 37, 19, 41, 5]
SLOPES = [-0.6, 0.6, -0.6, LINEAR]
N_BATCH = 21


@pytest.fixture
def make_replica(make_connections):
    """Make a network with empty rows, and velocities that tell where they come from."""

    def make(widths=WIDTHS):
        layers, states = [], []
        for number, (n_in, n_out, slope) in enumerate(zip(widths[:-1], widths[1:], SLOPES, strict=True)):
            part = make_connections(n_out, n_in, seed=number)
            layers.append(SparseLayer.of(part.topology, part.weight, part.bias, slope))
            states.append(OptimizerState({"velocity": {"weight": 1000 + part.weight, "bias": 1000 + part.bias}}))
        return Replica(Network(layers), states)

    return make


def random_masks(widths, share, seed=0):
    rng = np.random.default_rng(seed)
    masks = [rng.random(width) < share for width in widths]
    for mask in masks:
        mask[rng.integers(mask.size)] = True
    masks[-1][:] = True
    return masks


def dense_layers(network):
    """Weights, bias and slope of each layer in float64."""
    layers = []
    for layer in network.layers:
        matrix = np.zeros(layer.topology.shape)
        matrix.flat[layer.topology.keys()] = layer.weight
        layers.append((matrix, layer.bias.astype(np.float64), layer.slope))
    return layers


def dense_forward(layers, batch, masks):
    """The outputs of a dense network, all activations of the neurons outside the masks set to 0."""
    values = batch * masks[0][:, None]
    for (matrix, bias, slope), mask in zip(layers, masks[1:], strict=True):
        sums = matrix @ values + bias[:, None]
        values = np.where(sums >= 0, sums, slope * sums) * mask[:, None]
    return values


def sparse_forward(network, batch, make_columns):
    columns = make_columns(batch.shape[0], N_BATCH)
    columns[:, :N_BATCH] = batch
    return network.forward(tiles_of(columns, network), network.make_workspace(N_BATCH)).matrix()[:, :N_BATCH]


def tiles_of(columns, network):
    return Tiles.of(columns, network.tile_width)


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_compacted_network_computes_what_the_zeroed_dense_one_does_in_the_same_tiles(
    make_replica, make_columns, share, width
):
    replica = make_replica()
    network = replica.network
    network.tile_width = width
    masks, layers = random_masks(WIDTHS, share), dense_layers(network)
    batch = make_columns(WIDTHS[0], N_BATCH)[:, :N_BATCH]
    replica.apply(remove_neurons([layer.topology for layer in network.layers], masks))
    assert network.widths == [mask.sum() for mask in masks]
    assert network.tile_width == width
    for layer in network.layers:
        layer.topology.check()
    result = sparse_forward(network, batch[masks[0]], make_columns)
    np.testing.assert_allclose(result, dense_forward(layers, batch, masks), rtol=1e-4, atol=1e-4)


def test_two_removals_in_a_row_are_one_of_the_neurons_that_survive_both(make_replica, make_columns):
    replica = make_replica()
    network = replica.network
    layers, batch = dense_layers(network), make_columns(WIDTHS[0], N_BATCH)[:, :N_BATCH]
    ids = [np.arange(width) for width in WIDTHS]
    for seed in (1, 2, 3):
        masks = random_masks(network.widths, 0.7, seed)
        ids = [numbers[mask] for numbers, mask in zip(ids, masks, strict=True)]
        replica.apply(remove_neurons([layer.topology for layer in network.layers], masks))
    for found, expected in zip(network.neuron_ids[:-1], ids[:-1], strict=True):
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, expected)
    assert network.neuron_ids[-1] is None
    survivors = [np.isin(np.arange(width), numbers) for width, numbers in zip(WIDTHS, ids, strict=True)]
    result = sparse_forward(network, batch[survivors[0]], make_columns)
    np.testing.assert_allclose(result, dense_forward(layers, batch, survivors), rtol=1e-4, atol=1e-4)


def test_weights_biases_and_velocities_stay_with_their_connections_and_neurons(make_replica):
    replica = make_replica()
    network = replica.network
    before, masks = dense_layers(network), random_masks(WIDTHS, 0.6)
    replica.apply(remove_neurons([layer.topology for layer in network.layers], masks))
    for number, (matrix, bias, _) in enumerate(before):
        layer, velocity = network.layers[number], replica.states[number]["velocity"]
        kept_in, kept_out = masks[number], masks[number + 1]
        left = matrix[np.ix_(kept_out, kept_in)]
        assert layer.topology.n_connections == np.count_nonzero(left)
        assert layer.weight.tolist() == left.flat[layer.topology.keys()].tolist()
        np.testing.assert_array_equal(velocity["weight"], layer.weight + np.float32(1000))
        np.testing.assert_array_equal(layer.bias, bias[kept_out].astype(np.float32))
        np.testing.assert_array_equal(velocity["bias"], layer.bias + np.float32(1000))


def test_layers_between_neurons_that_all_stay_stay_themselves(make_replica):
    replica = make_replica()
    network = replica.network
    masks = [np.ones(width, np.bool_) for width in WIDTHS]
    masks[1][::2] = False
    topologies = [layer.topology for layer in network.layers]
    change = remove_neurons(topologies, masks)
    assert [kept is None for kept in change.kept_neurons] == [True, False, True, True, True]
    assert [layer.old_neuron is None for layer in change.layers] == [False, True, True, True]
    assert [layer.topology is old for layer, old in zip(change.layers, topologies, strict=True)] == [
        *(False, False, True, True)
    ]
    weight = network.layers[3].weight.copy()
    replica.apply(change)
    np.testing.assert_array_equal(network.layers[3].weight, weight)
    assert change.n_connections == network.n_connections


def test_a_smaller_network_can_be_trained_on(make_replica, make_columns):
    replica = make_replica()
    network = replica.network
    replica.apply(remove_neurons([layer.topology for layer in network.layers], random_masks(WIDTHS, 0.5)))
    for state in replica.states:
        state.reset(["velocity"])
    workspace = network.make_workspace(N_BATCH)
    batch, labels = (
        tiles_of(make_columns(network.widths[0], N_BATCH), network),
        (np.arange(N_BATCH) % 5).astype(np.int32),
    )
    dropouts = [Dropout(0.0, np.uint64(0))] * 3
    losses = [
        replica.train_batch(batch, labels, CrossEntropy(), dropouts, Sgd(0.5), 0.02, workspace)[0] for _ in range(40)
    ]
    assert losses[-1] < 0.5 * losses[0]


def test_removing_all_neurons_of_a_layer_is_a_mistake(make_replica):
    network = make_replica().network
    masks = random_masks(WIDTHS, 0.5)
    masks[2][:] = False
    with pytest.raises(AssertionError, match="all its neurons"):
        remove_neurons([layer.topology for layer in network.layers], masks)


def test_cut_neurons_keep_outgoing_connections_bias_and_number(make_replica, make_columns):
    replica = make_replica()
    network = replica.network
    masks, before = random_masks(WIDTHS, 0.5), dense_layers(network)
    bias = [layer.bias.copy() for layer in network.layers]
    replica.apply(cut_incoming([layer.topology for layer in network.layers], masks))
    assert network.widths == WIDTHS
    assert network.neuron_ids == [None] * 5
    for (after, *_), (matrix, *_), mask in zip(dense_layers(network), before, masks[1:], strict=True):
        np.testing.assert_array_equal(after, matrix * mask[:, None])
    for layer, state, values in zip(network.layers, replica.states, bias, strict=True):
        layer.topology.check()
        np.testing.assert_array_equal(layer.bias, values)
        np.testing.assert_array_equal(state["velocity"]["bias"], values + np.float32(1000))


def test_a_layer_left_without_connections_gets_its_strongest_one_back():
    first = Topology((2, 3), np.array([0, 2, 3], np.int64), np.array([0, 1, 1], np.int32))
    second = Topology((2, 2), np.array([0, 1, 1], np.int64), np.array([0], np.int32))
    weights = [np.array([0.5, -2.0, 2.0], np.float32), np.ones(1, np.float32)]
    masks = [np.array(mask, np.bool_) for mask in ([0, 0, 1], [0, 1], [1, 1])]
    found = keep_connected([first, second], weights, masks)
    assert [mask.tolist() for mask in found] == [[False, True, True], [True, True], [True, True]]
    assert masks[0].tolist() == [False, False, True]
    assert remove_neurons([first, second], found).n_connections == 3


def test_the_strongest_connection_is_the_first_of_greatest_absolute_weight():
    topology = Topology((3, 4), np.array([0, 2, 2, 4], np.int64), np.array([0, 1, 2, 3], np.int32))
    masks = [np.array([1, 0, 0, 0], np.bool_), np.array([0, 1, 0], np.bool_)]
    found = keep_connected([topology], [np.array([1, 2, -3, 3], np.float32)], masks)
    assert [np.flatnonzero(mask).tolist() for mask in found] == [[0, 2], [1, 2]]


def test_a_batch_of_the_old_inputs_is_noticed(make_replica, make_columns):
    replica = make_replica()
    network = replica.network
    replica.apply(remove_neurons([layer.topology for layer in network.layers], random_masks(WIDTHS, 0.5)))
    with pytest.raises(AssertionError):
        sparse_forward(network, make_columns(WIDTHS[0], N_BATCH)[:, :N_BATCH], make_columns)


def test_layers_that_keep_a_connection_get_nothing_back():
    topology = Topology((2, 3), np.array([0, 2, 3], np.int64), np.array([0, 1, 1], np.int32))
    masks = [np.array([True, False, False]), np.array([True, False])]
    found = keep_connected([topology], [np.array([0.1, -2, 2], np.float32)], masks)
    assert [mask.tolist() for mask in found] == [mask.tolist() for mask in masks]


def test_a_network_knows_no_ids_until_a_neuron_has_gone(make_replica):
    network = make_replica().network
    assert network.neuron_ids == [None] * 5
    ids = [None, np.array([3], np.int32), None, None, None]
    assert Network(network.layers, ids).neuron_ids is ids
    with pytest.raises(AssertionError):
        Network(network.layers, [None, None])
