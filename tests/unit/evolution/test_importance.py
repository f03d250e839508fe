"""Which neurons importance pruning takes, against brute force, and what is left of a network."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hpc_sparse.evolution.importance import (
    ImportancePruner,
    distinct_percentiles,
    fold_means,
    important,
)
from hpc_sparse.network.activations import LINEAR
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layer_signals import layer_signals
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles

WIDTHS = [23, 41, 30, 5]


@pytest.fixture
def network(make_connections):
    """A network with neurons that nothing comes into."""
    parts = [make_connections(n_out, n_in, seed=n_in) for n_in, n_out in pairwise(WIDTHS)]
    slopes = [-0.5, 0.5, LINEAR]
    return Network([SparseLayer.of(p.topology, p.weight, p.bias, s) for p, s in zip(parts, slopes, strict=True)])


def chain(*weights, slope=LINEAR):
    """A network of layers of one weight matrix each, of whose entries the zeros are no connections."""
    layers = []
    for number, values in enumerate(weights, 1):
        own = slope if number < len(weights) else LINEAR
        matrix = np.array(values, np.float32)
        topology = Topology.from_keys(matrix.shape, np.flatnonzero(matrix).astype(np.int64))
        layers.append(SparseLayer.of(topology, matrix[matrix != 0], np.zeros(matrix.shape[0], np.float32), own))
    return Network(layers)


def dense(layer):
    matrix = np.zeros(layer.topology.shape)
    matrix.flat[layer.topology.keys()] = layer.weight
    return np.abs(matrix)


def test_importance_is_the_sum_of_absolute_weights_at_a_neuron(network):
    for layer in network.layers:
        np.testing.assert_allclose(layer.incoming.incoming_strength(), dense(layer).sum(axis=1), rtol=1e-14)
        np.testing.assert_allclose(layer.incoming.outgoing_strength(), dense(layer).sum(axis=0), rtol=1e-14)


@pytest.mark.parametrize(
    ("values", "percentile", "stays"),
    [
        ([4, 1, 3, 2, 5], 0, [1, 1, 1, 1, 1]),
        ([4, 1, 3, 2, 5], 1e-9, [1, 0, 1, 1, 1]),
        ([4, 1, 3, 2, 5], 20, [1, 0, 1, 1, 1]),
        ([4, 1, 3, 2, 5], 25, [1, 0, 1, 0, 1]),
        ([4, 1, 3, 2, 5], 99, [0, 0, 0, 0, 1]),
        ([2, 1, 2, 2, 3], 25, [0, 0, 0, 0, 1]),
        ([0, 0, 0, 2, 3], 10, [0, 0, 0, 1, 1]),
        ([3, 1, 3, 3, 3], 50, [1, 0, 1, 1, 1]),
        ([7, 7, 7], 90, [1, 1, 1]),
        ([0, 0], 50, [1, 1]),
        ([5], 50, [1]),
    ],
)
def test_what_is_at_or_below_the_percentile_goes_but_never_the_strongest(values, percentile, stays):
    assert important(np.array(values, np.float64), percentile).tolist() == [bool(stay) for stay in stays]


@pytest.mark.parametrize(("percentile", "input_percentile"), [(20.0, 0.0), (20.0, 50.0), (0.0, 30.0), (97.0, 97.0)])
def test_compact_pruning_keeps_what_brute_force_keeps(network, percentile, input_percentile):
    expected = [np.flatnonzero(important(dense(network.layers[0]).sum(axis=0), input_percentile))]
    expected += [np.flatnonzero(important(dense(layer).sum(axis=1), percentile)) for layer in network.layers[:-1]]
    expected += [np.arange(WIDTHS[-1])]
    change = ImportancePruner("compact", percentile, input_percentile).prune(network)
    for kept, numbers, width in zip(change.kept_neurons, expected, WIDTHS, strict=True):
        if kept is None:
            assert numbers.size == width
        else:
            assert np.isin(numbers, kept).all()
            assert kept.size <= numbers.size + 2, "at most the ends of two restored connections"
    widths = [width if kept is None else kept.size for kept, width in zip(change.kept_neurons, WIDTHS, strict=True)]
    assert [layer.topology.shape for layer in change.layers] == list(zip(widths[1:], widths[:-1], strict=True))
    assert all(layer.topology.n_connections for layer in change.layers)
    for number, layer in enumerate(network.layers):
        kept_in, kept_out = (slice(None) if kept is None else kept for kept in change.kept_neurons[number : number + 2])
        left = np.count_nonzero(dense(layer)[kept_out][:, kept_in])
        assert change.layers[number].topology.n_connections == left


def test_pruning_does_not_change_the_network_itself(network):
    before = [(layer.topology, layer.weight.copy(), layer.bias.copy()) for layer in network.layers]
    ImportancePruner("compact", 50, 50).prune(network)
    for layer, (topology, weight, bias) in zip(network.layers, before, strict=True):
        assert layer.topology is topology
        assert (layer.weight == weight).all()
        assert (layer.bias == bias).all()


def test_pruning_again_starts_from_what_is_left(network):
    replica = Replica.at_rest(network)
    widths = [network.widths]
    for _ in range(3):
        replica.apply(ImportancePruner("compact", 20).prune(network))
        widths.append(network.widths)
        for ids, width in zip(network.neuron_ids[1:-1], network.widths[1:-1], strict=True):
            assert ids.size == width
            assert (np.diff(ids) > 0).all()
        for layer, state in zip(network.layers, replica.states, strict=True):
            assert state["velocity"]["weight"].size == layer.weight.size
            assert state["velocity"]["bias"].size == layer.bias.size == layer.topology.shape[0]
    inputs, first, second, outputs = np.transpose(widths)
    assert set(inputs) | set(outputs) == {23, 5}
    assert (np.diff(first) < 0).all()
    assert (np.diff(second) < 0).all()


def test_released_pruning_cuts_incoming_connections_only(network):
    expected = [important(dense(layer).sum(axis=1), 30) for layer in network.layers[:-1]]
    change = ImportancePruner("released", 30).prune(network)
    assert change.kept_neurons == (None,) * 4
    for layer, new, mask in zip(network.layers, change.layers, [*expected, np.ones(5, np.bool_)], strict=True):
        assert new.topology.shape == layer.topology.shape
        assert new.old_neuron is None
        np.testing.assert_array_equal(new.topology.fan_in(), layer.topology.fan_in() * mask)


def test_nothing_to_do_is_said_so(network):
    assert ImportancePruner("compact", 0).prune(network) is None
    assert ImportancePruner("released", 0).prune(network) is None
    alike = chain([[1, -1], [1, 1]], [[1, 2]])
    assert ImportancePruner("compact", 90).prune(alike) is None
    assert ImportancePruner("released", 90).prune(alike) is None
    only_isolated = chain([[1, 1], [0, 0]], [[1, 2]])
    assert ImportancePruner("released", 50).prune(only_isolated) is None
    assert ImportancePruner("compact", 50).prune(only_isolated).n_connections == 3
    assert ImportancePruner("compact", 50).prune(chain([[1, 2], [3, 4]])) is None


def test_a_layer_between_neurons_that_do_not_meet_keeps_its_strongest_connection():
    network = chain([[9, 0], [0, 1]], [[0, 8], [0, 2]], [[1, 1]])
    change = ImportancePruner("compact", 50).prune(network)
    assert [None if kept is None else kept.tolist() for kept in change.kept_neurons] == [None, None, [0], None]
    assert [layer.topology.n_connections for layer in change.layers] == [2, 1, 1]


def test_inputs_are_judged_by_what_goes_out_of_them():
    network = chain([[1, 0, 5], [-3, 0, 0.5]], [[1, 1]])
    change = ImportancePruner("compact", 0, 50).prune(network)
    assert change.kept_neurons[0].tolist() == [2]
    assert change.layers[0].old_position.tolist() == [1, 3]


def signals_of(network, n_samples=37, seed=5):
    rng = np.random.default_rng(seed)
    batch = rng.standard_normal((network.widths[0], n_samples)).astype(np.float32) + 1
    labels = rng.integers(0, network.widths[-1], n_samples).astype(np.int32)
    return batch, labels, layer_signals(network, Tiles.of(batch, network.tile_width), labels, CrossEntropy())


def sums_of(network, batch):
    """Weighted sums of every layer, float64, by NumPy."""
    sums, values = [], batch.astype(np.float64)
    for layer in network.layers:
        sums.append(layer.topology.matrix(layer.weight.astype(np.float64)) @ values + layer.bias[:, None])
        values = np.where(sums[-1] >= 0, sums[-1], layer.slope * sums[-1])
    return sums


@pytest.mark.parametrize("input_percentile", [0.0, 40.0])
def test_what_neurons_contributed_on_average_stays_with_those_above(network, input_percentile):
    batch, _, signals = signals_of(network)
    change = ImportancePruner("compact", 40, input_percentile).prune(network)
    before = sums_of(network, batch)
    replica = Replica.at_rest(network)
    fold_means(network, change, signals)
    replica.apply(change)
    kept = [slice(None) if each is None else each for each in change.kept_neurons]
    after = sums_of(network, batch[kept[0]])
    if input_percentile:
        np.testing.assert_allclose(after[0].mean(axis=1), before[0][kept[1]].mean(axis=1), atol=1e-4)
    else:
        # With all inputs there, the first layer is as before, and so the second one's means are.
        np.testing.assert_allclose(after[1].mean(axis=1), before[1][kept[2]].mean(axis=1), atol=1e-4)


def test_a_neuron_that_always_says_the_same_goes_without_a_trace():
    network = chain([[1, 2], [0.5, 0]], [[3, -2], [1, 4]], slope=-0.5)
    network.layers[0].bias[:] = (0, 7)
    network.layers[0].weight[2] = 0
    batch, _, signals = signals_of(network)
    before = sums_of(network, batch)[-1]
    change = ImportancePruner("compact", 50).prune(network)
    assert change.kept_neurons[1].tolist() == [0]
    fold_means(network, change, signals)
    Replica.at_rest(network).apply(change)
    np.testing.assert_allclose(sums_of(network, batch)[-1], before, rtol=1e-5)


def test_two_sided_importance_asks_what_comes_of_a_neuron_too():
    network = chain([[9, 9], [1, 1], [2, 2]], [[0.01, 5, 2]])
    assert ImportancePruner("compact", 40).prune(network).kept_neurons[1].tolist() == [0, 2]
    change = ImportancePruner("compact", 40, importance="two_sided").prune(network)
    assert change.kept_neurons[1].tolist() == [1, 2]


def test_taylors_importance_is_the_mean_effect_of_a_neuron_on_the_loss(network):
    """Against differences of the losses when a neuron's activation is made a little smaller."""
    batch, labels, signals = signals_of(network)
    pruner, step = ImportancePruner("compact", 20, 30, importance="taylor"), 1e-6
    found = pruner._importances(network.incoming(), signals)

    def losses(scaled, neuron):
        values = batch.astype(np.float64)
        for number, layer in enumerate(network.layers):
            if number == scaled:
                values = values.copy()
                values[neuron] *= 1 - step
            sums = layer.topology.matrix(layer.weight.astype(np.float64)) @ values + layer.bias[:, None]
            values = np.where(sums >= 0, sums, layer.slope * sums)
        shifted = sums - sums.max(axis=0)
        return np.log(np.exp(shifted).sum(axis=0)) - shifted[labels, np.arange(labels.size)]

    for number, importance in enumerate(found):
        whole = losses(-1, 0)
        expected = [np.abs(losses(number, j) - whole).mean() / step for j in range(importance.size)]
        np.testing.assert_allclose(importance, expected, rtol=2e-2, atol=1e-5)
    change = pruner.prune(network, signals)
    assert 0 not in {kept.size for kept in change.kept_neurons[:-1]}


@pytest.mark.parametrize("widths", [[], [1], [2], [1000], [3, 5], [41, 30], [7, 7, 1]])
def test_the_distinct_percentiles_take_every_combination_of_neurons_once(widths):
    importances = [np.arange(1.0, width + 1) for width in widths]

    def n_left(percentile):
        return tuple(int(important(importance, percentile).sum()) for importance in importances)

    found = [n_left(percentile) for percentile in distinct_percentiles(widths)]
    assert len(set(found)) == len(found)
    assert found[0] == tuple(widths)
    assert found[-1] == (1,) * len(widths)
    assert set(found) >= {n_left(percentile) for percentile in np.linspace(0.01, 99.99, 3000)}
