"""Layers that read tokens compute what they compute of the inputs of 0 and 1 that tokens stand for."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.config import parse_config
from hpc_sparse.kernels.simd.buffers import padded_columns
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.kernels.threads import at_most_threads
from hpc_sparse.network.dropout import NO_DROPOUT
from hpc_sparse.network.layer_signals import layer_signals
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.parameters import ParameterLayout
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.network.tokens import Tokens
from hpc_sparse.runs.exact_network import ExactNetwork

N_STEPS, N_TOKENS, N, N_SAMPLES = 5, 13, 16, 21
CONFIG = """
data.path = "none.h5"
training = {{ epochs = 1, batch_size = 8 }}
optimizer.learning_rate = 0.1
[network]
density = {density}
initializer = "he_fan_in"
{kind}
[[network.layers]]
kind = "recurrent"
cell = "{cell}"
n = 16
output = "all"
[[network.layers]]
kind = "recurrent"
n = 12
output = "{output}"
"""
KINDS = {
    "csr": "",
    "dense": 'connections = "dense"',
    "block": 'connections = "block"\nblock = [4, 4]',
    "n_of_m": 'connections = "n_of_m"\npattern = "2:4"',
}
DROPOUTS = [NO_DROPOUT] * 2
RNG = np.random.default_rng(0)
ROWS = RNG.integers(0, N_TOKENS - 1, (N_SAMPLES, N_STEPS)).astype(np.int32)
"""The last token never comes."""


def make(kind="csr", cell="gru", output="all", width=0):
    config = parse_config(CONFIG.format(kind=KINDS[kind], cell=cell, output=output, density=0.4), "test")
    networks = [
        Network.from_config(config.network, N_TOKENS, N_TOKENS, seed=1, n_places=N_STEPS, reads_tokens=reads)
        for reads in (True, False)
    ]
    for network in networks:
        network.tile_width = width or network.tile_width
    return make_objective(config), *networks


def batches(width, lengths=None):
    """Tokens, and the inputs that they stand for."""
    tokens = Tokens.of(ROWS, N_TOKENS, width)
    numbers = Tiles.empty(N_TOKENS, N_SAMPLES, width, n_places=N_STEPS)
    for step, own in enumerate(tokens.exact(N_SAMPLES)):
        numbers.place(step).values[:] = Tiles.of(own.astype(np.float32), width).values
    if lengths is not None:
        padded = np.zeros(padded_columns(N_SAMPLES), np.int32)
        padded[:N_SAMPLES] = lengths
        return tokens.with_lengths(padded), numbers.with_lengths(padded)
    return tokens, numbers


def labels_of(output):
    labels = RNG.integers(-1, N_TOKENS, (N_SAMPLES, N_STEPS)).astype(np.int32)
    return labels if output == "all" else np.maximum(labels[:, 0], 0)


def learnt(network, batch, labels, objective):
    layout = ParameterLayout.of(network)
    gradients = layout.views(layout.new_vector())
    outcome = network.gradient_batch(batch, labels, objective, DROPOUTS, network.make_workspace(N_SAMPLES), gradients)
    return outcome, gradients


def check_by_differences(network, batch, labels, objective, gradients, lengths=None):
    exact = ExactNetwork(
        network,
        batch.exact(N_SAMPLES),
        [None, None],
        lambda sums: objective.exact_loss(sums, labels),
        lengths,
    )
    for number, of_layer in enumerate(gradients):
        scale = max(float(np.abs(each).max()) for each in of_layer.values())
        for name, gradient in of_layer.items():
            for position in {0, gradient.size // 2, gradient.size - 1, int(np.abs(gradient).argmax())}:
                found = exact.slope_at(number, exact.values[number][name], position)
                np.testing.assert_allclose(gradient[position], found, atol=2e-5 * scale, err_msg=f"{number} {name}")


@pytest.mark.parametrize("output", ["all", "last"])
@pytest.mark.parametrize(("kind", "cell"), [(kind, "gru") for kind in KINDS] + [("csr", "tanh")])
def test_loss_and_gradients_are_those_of_inputs_of_0_and_1_and_of_differences(kind, cell, output):
    objective, reads_tokens, reads_numbers = make(kind, cell, output)
    labels = labels_of(output)
    tokens, numbers = batches(reads_tokens.tile_width)
    outcome, gradients = learnt(reads_tokens, tokens, labels, objective)
    other, expected = learnt(reads_numbers, numbers, labels, objective)
    np.testing.assert_allclose(outcome.loss, other.loss, rtol=1e-6)
    assert outcome.metrics == other.metrics
    for own, of_numbers in zip(gradients, expected, strict=True):
        for name, gradient in own.items():
            np.testing.assert_allclose(gradient, of_numbers[name], rtol=1e-4, atol=1e-6, err_msg=name)
    check_by_differences(reads_tokens, tokens, labels, objective, gradients)


@pytest.mark.parametrize("cell", ["gru", "tanh"])
def test_steps_beyond_a_length_change_neither_states_nor_gradients(cell):
    objective, network, _ = make(cell=cell, output="last")
    lengths, labels = RNG.integers(1, N_STEPS + 1, N_SAMPLES).astype(np.int32), labels_of("last")
    batch, _ = batches(network.tile_width, lengths)
    outcome, gradients = learnt(network, batch, labels, objective)
    check_by_differences(network, batch, labels, objective, gradients, lengths)
    other = ROWS.copy()
    other[np.arange(N_STEPS) >= lengths[:, None]] = 3
    same, again = learnt(network, Tokens.of(other, N_TOKENS, network.tile_width, batch.lengths), labels, objective)
    assert same == outcome
    for own, expected in zip(gradients[1:], again[1:], strict=True):
        for name, gradient in own.items():
            np.testing.assert_array_equal(gradient, expected[name])
    for name, gradient in gradients[0].items():
        np.testing.assert_allclose(gradient, again[0][name], atol=1e-9)


@pytest.mark.parametrize("width", WIDTHS)
def test_bits_depend_neither_on_threads_nor_on_the_width_of_tiles_in_the_forward_pass(width):
    objective, network, _ = make(width=width)
    labels = labels_of("all")
    tokens, _ = batches(width)
    found = []
    for n_threads in (1, 2, 3):
        with at_most_threads(n_threads):
            found.append(learnt(network, tokens, labels, objective))
    (one, own), *others = found
    for outcome, of_layers in others:
        assert outcome == one
        for layer, other in zip(own, of_layers, strict=True):
            for name, gradient in layer.items():
                np.testing.assert_array_equal(gradient, other[name])


def test_signals_have_the_gradient_of_every_weight_that_could_grow():
    objective, reads_tokens, reads_numbers = make()
    labels = labels_of("all")
    tokens, numbers = batches(reads_tokens.tile_width)
    matrices = []
    for network, batch in ((reads_tokens, tokens), (reads_numbers, numbers)):
        own = layer_signals(network, batch, labels, objective)[0]["input"]
        n = own.n_samples
        delta, source = (
            np.concatenate([each.place(p).matrix()[:, :n] for p in range(each.n_places)], axis=1)
            for each in (own.delta, own.source)
        )
        matrices.append(delta @ source.T)
    np.testing.assert_allclose(*matrices, rtol=1e-4, atol=1e-6)


def test_a_sequence_goes_on_where_the_one_before_has_ended():
    _, network, _ = make()
    width, workspace = network.tile_width, network.make_workspace(N_SAMPLES)
    both = np.concatenate([ROWS, ROWS[::-1]], axis=1)
    whole = network.make_workspace(N_SAMPLES)
    network.layers[0].n_places = network.layers[1].n_places = 2 * N_STEPS
    twice = network.make_workspace(N_SAMPLES)
    expected = network.forward(Tokens.of(both, N_TOKENS, width), twice).places(N_STEPS, 2 * N_STEPS).values.copy()
    network.layers[0].n_places = network.layers[1].n_places = N_STEPS
    network.forward(Tokens.of(ROWS, N_TOKENS, width), workspace)
    found = network.forward(Tokens.of(both[:, N_STEPS:], N_TOKENS, width), workspace, goes_on=True)
    np.testing.assert_array_equal(found.values, expected)
    assert not np.array_equal(network.forward(Tokens.of(both[:, N_STEPS:], N_TOKENS, width), whole).values, expected)
