"""The whole network against the same network in float64, itself checked by finite differences."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
import scipy.sparse
from scipy.special import log_softmax, softmax

from hpc_sparse.kernels.simd import machine
from hpc_sparse.kernels.simd.activation import BLOCK, WORDS
from hpc_sparse.kernels.simd.buffers import padded_columns
from hpc_sparse.network import network as networks
from hpc_sparse.network.dropout import NO_DROPOUT, Dropout
from hpc_sparse.network.layer_signals import layer_signals
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles

WIDTHS = [23, 40, 31, 35, 7]
SLOPES = [-0.6, 0.6, -0.6]
LOSS = CrossEntropy()
PLAIN_SGD = Sgd(0.0)


def make_network(tile_width=0, **changes):
    arguments = {"activation": "all_relu", "alpha": 0.6, "initializer": "he_fan_in", "seed": 6}
    network = Network.random(WIDTHS, [0.3, 0.2, 0.25, 1.0], **(arguments | changes))
    rng = np.random.default_rng(0)
    for layer in network.layers:
        layer.bias[:] = rng.standard_normal(layer.bias.size) * 0.1
    return replace(network, tile_width=tile_width)


def make_batch(n_batch, beyond=0.0):
    rng = np.random.default_rng(n_batch)
    batch = np.full((WIDTHS[0], padded_columns(n_batch)), beyond, np.float32)
    batch[:, :n_batch] = rng.standard_normal((WIDTHS[0], n_batch))
    return batch, rng.integers(0, WIDTHS[-1], n_batch).astype(np.int32)


@dataclass
class Reference:
    """The network in float64 with dense weights; ``masks`` are the dropout factors of the hidden activations."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    masks: list[np.ndarray]

    @classmethod
    def of(cls, network, masks):
        weights = [
            scipy.sparse.csr_array((la.weight, la.topology.indices, la.topology.indptr), shape=la.topology.shape)
            .toarray()
            .astype(np.float64)
            for la in network.layers
        ]
        return cls(weights, [layer.bias.astype(np.float64) for layer in network.layers], masks)

    def forward(self, x):
        """Inputs of every layer, slopes at every hidden neuron, and the output's sums."""
        inputs, derivatives = [x], []
        for w, b, slope, mask in zip(self.weights[:-1], self.biases[:-1], SLOPES, self.masks, strict=True):
            z = w @ inputs[-1] + b[:, None]
            derivatives.append(np.where(z < 0, slope, 1.0) * mask)
            inputs.append(z * derivatives[-1])
        return inputs, derivatives, self.weights[-1] @ inputs[-1] + self.biases[-1][:, None]

    def loss(self, x, labels):
        return -log_softmax(self.forward(x)[2], axis=0)[labels, np.arange(labels.size)].mean()

    def gradients(self, x, labels):
        inputs, derivatives, z = self.forward(x)
        delta = (softmax(z, axis=0) - (np.arange(z.shape[0])[:, None] == labels)) / labels.size
        weight_gradients, bias_gradients = [], []
        for number in range(len(self.weights) - 1, -1, -1):
            weight_gradients.insert(0, delta @ inputs[number].T)
            bias_gradients.insert(0, delta.sum(axis=1))
            if number:
                delta = (self.weights[number].T @ delta) * derivatives[number - 1]
        return weight_gradients, bias_gradients


def kept(record, activations):
    """Which columns dropout has kept, bool[n, n_columns]."""
    n, parts = activations.n_neurons, []
    for first, tile in activations:
        start, n_words = first * n // BLOCK * WORDS, tile.size // BLOCK * WORDS
        words = record[start : start + n_words].view(np.uint8).reshape(n, -1, WORDS, BLOCK // 8)[:, :, 0]
        parts.append(np.unpackbits(np.ascontiguousarray(words), axis=-1, bitorder="little").reshape(n, -1))
    return np.concatenate(parts, axis=1)


def train_once(network, batch, labels, *, rate, dropout=0.0, sgd=PLAIN_SGD, workspace=None):
    """One step; returns velocities by layer and name, the loss, and the dropout factors that were used."""
    workspace = workspace or network.make_workspace(256)
    dropouts = [Dropout(dropout, np.uint64(100 + number)) for number in range(len(SLOPES))]
    replica = Replica.at_rest(network)
    loss, _ = replica.train_batch(Tiles.of(batch, network.tile_width), labels, LOSS, dropouts, sgd, rate, workspace)
    n_columns, scale = batch.shape[1], 1 / (1 - dropout)
    pairs = zip(workspace.saved(n_columns)[:-1], workspace.activations(n_columns)[:-1], strict=True)
    masks = [kept(saved["record"], activations)[:, : labels.size] * scale for saved, activations in pairs]
    return [state["velocity"] for state in replica.states], loss, masks


def test_the_reference_network_agrees_with_finite_differences():
    batch, labels = make_batch(5)
    x = batch[:, :5].astype(np.float64)
    rng = np.random.default_rng(3)
    masks = [(rng.random((n, 5)) < 0.7) / 0.7 for n in WIDTHS[1:-1]]
    reference = Reference.of(make_network(), masks)
    gradients = reference.gradients(x, labels)
    step = 1e-6
    for parameters, computed in zip((reference.weights, reference.biases), gradients, strict=True):
        for array, gradient in zip(parameters, computed, strict=True):
            for position in rng.integers(0, array.size, 25):
                before = array.flat[position]
                losses = []
                for moved in (before + step, before - step):
                    array.flat[position] = moved
                    losses.append(reference.loss(x, labels))
                array.flat[position] = before
                slope = (losses[0] - losses[1]) / (2 * step)
                assert gradient.flat[position] == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("n_batch", [1, 5, 37, 120, 240])
def test_gradients_of_the_whole_network_are_those_of_float64(n_batch, dropout, width):
    network = make_network(width)
    batch, labels = make_batch(n_batch, beyond=3.0)
    before = make_network()
    velocities, loss, masks = train_once(network, batch, labels, rate=1.0, dropout=dropout)
    reference = Reference.of(before, masks)
    x = batch[:, :n_batch].astype(np.float64)
    assert loss / n_batch == pytest.approx(reference.loss(x, labels), rel=1e-5)
    for layer, velocity, weight, bias in zip(before.layers, velocities, *reference.gradients(x, labels), strict=True):
        at_connections = weight.flat[layer.topology.keys()]
        np.testing.assert_allclose(-velocity["weight"], at_connections, rtol=1e-4, atol=2e-6)
        np.testing.assert_allclose(-velocity["bias"], bias, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("width", machine.WIDTHS)
def test_a_step_moves_weights_as_in_float64(width):
    network, before = make_network(width), make_network()
    batch, labels = make_batch(37)
    _, _, masks = train_once(network, batch, labels, rate=0.1, sgd=Sgd(0.9, 0.2))
    reference = Reference.of(before, masks)
    gradients = reference.gradients(batch[:, :37].astype(np.float64), labels)
    for layer, old, weight, bias in zip(network.layers, before.layers, *gradients, strict=True):
        expected = old.weight - 0.1 * weight.flat[old.topology.keys()] - 0.1 * 0.2 * old.weight
        np.testing.assert_allclose(layer.weight, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.bias, old.bias - 0.1 * bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_batch", [16, 37, 112, 240])
def test_evaluation_is_the_forward_pass_of_float64_and_has_the_same_bits_in_tiles_of_any_width(n_batch, width):
    network, widest = make_network(width), make_network(machine.WIDTHS[-1])
    batch, labels = make_batch(n_batch)
    masks = [np.ones((n, n_batch)) for n in WIDTHS[1:-1]]
    expected = Reference.of(network, masks).forward(batch[:, :n_batch].astype(np.float64))[2]
    sums, same = (
        each.forward(Tiles.of(batch, each.tile_width), each.make_workspace(n_batch)).matrix()
        for each in (network, widest)
    )
    np.testing.assert_allclose(sums[:, : labels.size], expected, rtol=1e-4, atol=1e-5)
    assert sums.tobytes() == same.tobytes()


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_batch", [16, 37, 112, 240])
def test_signals_have_the_same_bits_in_tiles_of_any_width(n_batch, width):
    batch, labels = make_batch(n_batch)
    found, expected = (
        layer_signals(network, Tiles.of(batch, network.tile_width), labels, LOSS)
        for network in (make_network(width), make_network(machine.WIDTHS[-1]))
    )
    for own, other in zip((each["input"] for each in found), (each["input"] for each in expected), strict=True):
        assert own.source.matrix().tobytes() == other.source.matrix().tobytes()
        assert own.delta.matrix().tobytes() == other.delta.matrix().tobytes()


@pytest.mark.parametrize("width", machine.WIDTHS)
def test_a_batch_of_one_tile_leads_to_the_same_bits_whatever_the_width_of_others(width):
    batch, labels = make_batch(13)
    results = []
    for network in (make_network(width), make_network(machine.WIDTHS[-1])):
        velocities, loss, _ = train_once(network, batch, labels, rate=0.1, dropout=0.3)
        layers = [layer.weight.tobytes() + layer.bias.tobytes() for layer in network.layers]
        results.append((layers, loss, [array.tobytes() for own in velocities for array in own.values()]))
    assert results[0] == results[1]


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_batch", [37, 144])
def test_the_gradient_of_a_layer_alone_is_what_training_uses(make_columns, n_batch, width):
    network = make_network()
    layer = network.layers[0]
    delta, source = (Tiles.of(make_columns(n, n_batch, seed=n), width) for n in (40, 23))
    weight_gradient, bias_gradient = layer.gradient(delta, source)
    state = OptimizerState.at_rest(layer.parameters(), {"velocity": np.float32})
    sink = Sgd(0.0).sink(1.0, state, lambda n: np.empty(n, np.float32))
    layer.backward(delta, source, {}, None, sink, None)
    np.testing.assert_array_equal(state["velocity"]["weight"], -weight_gradient)
    np.testing.assert_allclose(state["velocity"]["bias"], -bias_gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", machine.WIDTHS)
def test_steps_are_bitwise_equal_on_any_number_of_threads(on_every_thread_count, width):
    def run():
        network = make_network(width)
        workspace = network.make_workspace(240)
        for n_batch in (120, 37, 240):
            train_once(network, *make_batch(n_batch), rate=0.1, dropout=0.3, workspace=workspace)
        return [layer.weight.tobytes() + layer.bias.tobytes() for layer in network.layers]

    alone, together = on_every_thread_count(run)
    assert alone == together


@pytest.mark.parametrize("n_batch", [144, 240])
@pytest.mark.parametrize("width", machine.WIDTHS)
def test_written_gradients_are_those_of_steps_in_tiles_of_any_width(width, n_batch):
    network = make_network(width)
    batch, labels = make_batch(n_batch)
    gradients = [
        {name: np.empty_like(each.values) for name, each in layer.parameters().items()} for layer in network.layers
    ]
    network.gradient_batch(
        Tiles.of(batch, width), labels, LOSS, [NO_DROPOUT] * len(SLOPES), network.make_workspace(n_batch), gradients
    )
    velocities, _, _ = train_once(network, batch, labels, rate=1.0)
    for own, velocity in zip(gradients, velocities, strict=True):
        np.testing.assert_array_equal(velocity["weight"], -own["weight"])
        np.testing.assert_allclose(velocity["bias"], -own["bias"], rtol=1e-4, atol=1e-6)


def test_a_copy_of_a_network_keeps_the_width_of_its_tiles():
    for width in machine.WIDTHS:
        assert make_network(width).copy().tile_width == width
    assert make_network().tile_width == machine.tile_width(WIDTHS)


def test_a_pickled_network_keeps_the_width_of_its_tiles_where_the_machine_has_it(monkeypatch):
    pickled = [pickle.dumps(make_network(width)) for width in machine.WIDTHS]
    assert [pickle.loads(each).tile_width for each in pickled] == list(machine.WIDTHS)
    monkeypatch.setattr(networks, "WIDTHS", machine.WIDTHS[:1])
    monkeypatch.setattr(networks, "tile_width", lambda widths: machine.WIDTHS[0])
    assert {pickle.loads(each).tile_width for each in pickled} == {machine.WIDTHS[0]}


def test_a_batch_in_tiles_of_another_width_is_noticed():
    network = make_network(machine.WIDTHS[0])
    with pytest.raises(AssertionError):
        network.forward(Tiles.of(make_batch(37)[0], machine.WIDTHS[1]), network.make_workspace(37))


def test_a_random_network_depends_on_its_seed_only():
    one, same, other = make_network(), make_network(), make_network(seed=7)
    for layer, same_layer, other_layer in zip(one.layers, same.layers, other.layers, strict=True):
        layer.topology.check()
        assert layer.weight.tobytes() == same_layer.weight.tobytes()
        assert layer.weight.tobytes() != other_layer.weight.tobytes()
    assert [layer.slope for layer in one.layers] == [*SLOPES, 1.0]


def test_sizes_are_counted_over_all_layers():
    network = make_network()
    n_possible = 23 * 40 + 40 * 31 + 31 * 35 + 35 * 7
    assert network.widths == WIDTHS
    assert network.n_neurons == sum(WIDTHS)
    assert network.n_connections == sum(layer.weight.size for layer in network.layers)
    assert network.n_parameters == network.n_connections + sum(WIDTHS[1:])
    assert network.density == pytest.approx(network.n_connections / n_possible)
