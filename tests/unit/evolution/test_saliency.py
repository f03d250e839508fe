"""Scores of a source network's connections, against finite differences of a dense network in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.initial import saliency
from hpc_sparse.evolution.initial.saliency import TEMPERATURE, best_positions, grasp_scores, snip_scores
from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.layer_signals import layer_signals
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.tiles import Tiles

N_SAMPLES = 21
"""More than a tile of the least width."""


@pytest.fixture(params=[machine.WIDTHS[0], machine.WIDTHS[-1]])
def network(request) -> Network:
    names = {"activation": "all_relu", "alpha": 0.6, "initializer": "he_fan_in"}
    network = Network.random([7, 9, 5, 3], [0.4, 0.5, 0.6], **names, seed=4)
    for layer in network.layers:
        layer.bias[:] = np.random.default_rng(1).standard_normal(layer.bias.size)
    network.tile_width = request.param
    return network


@pytest.fixture
def samples(make_columns, network):
    return Tiles.of(make_columns(7, N_SAMPLES), network.tile_width), np.arange(N_SAMPLES, dtype=np.int32) % 3


def dense_weights(network):
    weights = []
    for layer in network.layers:
        weight = np.zeros(layer.topology.shape)
        np.put(weight, layer.topology.keys(), layer.weight.astype(np.float64))
        weights.append(weight)
    return weights


def mean_loss(network, weights, samples, temperature):
    values, labels = samples[0].matrix()[:, :N_SAMPLES].astype(np.float64), samples[1]
    for layer, weight in zip(network.layers, weights, strict=True):
        values = weight @ values + layer.bias[:, None]
        values = np.where(values >= 0, values, layer.slope * values)
    values = values / temperature
    shares = values - np.log(np.exp(values).sum(axis=0))
    return -shares[labels, np.arange(N_SAMPLES)].mean()


def gradients(network, weights, samples, temperature, step):
    """At the connections, by central differences."""
    found = []
    for number, layer in enumerate(network.layers):
        own = []
        for key in layer.topology.keys().tolist():
            losses = []
            for sign in (1, -1):
                moved = [weight.copy() for weight in weights]
                moved[number].flat[key] += sign * step
                losses.append(mean_loss(network, moved, samples, temperature))
            own.append((losses[0] - losses[1]) / (2 * step))
        found.append(np.array(own))
    return found


def test_snip_scores_are_gradients_times_weights(network, samples):
    scores = snip_scores(network, layer_signals(network, *samples, CrossEntropy()))
    expected = gradients(network, dense_weights(network), samples, 1.0, 1e-6)
    for score, gradient, layer in zip(scores, expected, network.layers, strict=True):
        np.testing.assert_allclose(score, np.abs(gradient * layer.weight), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("products", [saliency.PRODUCTS, 3 * N_SAMPLES])
def test_grasp_scores_are_weights_times_the_change_of_the_gradient_along_itself(
    network, samples, monkeypatch, products
):
    monkeypatch.setattr(saliency, "PRODUCTS", products)
    scores = grasp_scores(network, *samples)
    weights, step = dense_weights(network), 1.0  # times a gradient that is small
    along = gradients(network, weights, samples, TEMPERATURE, 1e-5)
    sides = []
    for sign in (1, -1):
        moved = [weight.copy() for weight in weights]
        for weight, layer, gradient in zip(moved, network.layers, along, strict=True):
            weight.flat[layer.topology.keys()] += sign * step * gradient
        sides.append(gradients(network, moved, samples, TEMPERATURE, 1e-5))
    for score, plus, minus, layer in zip(scores, *sides, network.layers, strict=True):
        expected = layer.weight * (plus - minus) / (2 * step)
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(score, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("n_wanted", [3, 4, 9, 17, 26])
def test_the_best_of_all_layers_are_chosen_but_none_is_left_without(n_wanted):
    rng = np.random.default_rng(n_wanted)
    scores = [rng.integers(-3, 3, size).astype(np.float32) - 10 * (size == 5) for size in (12, 0, 5, 9)]
    scores[0][3] = np.nan
    chosen = best_positions(scores, n_wanted)
    entries = [
        (-(np.inf if position == np.nanargmax(score) else np.nan_to_num(value, nan=-np.inf)), number, position)
        for number, score in enumerate(scores)
        for position, value in enumerate(score)
    ]
    best = sorted(entries)[:n_wanted]
    for number, positions in enumerate(chosen):
        assert positions.tolist() == sorted(position for _, layer, position in best if layer == number)
    assert [positions.size > 0 for positions in chosen] == [True, False, True, True]
