"""Signals of every layer at once: what a training step computes one layer at a time."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layer_signals import layer_signals
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.tiles import Tiles


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("widths", [[9, 7], [13, 21, 3], [13, 24, 18, 11, 3]])
@pytest.mark.parametrize("n_samples", [1, 16, 45, 112, 240])
def test_signals_give_the_gradient_of_every_connection_without_dropout(make_columns, widths, n_samples, width):
    network = Network.random(
        widths, [0.6] * (len(widths) - 1), activation="all_relu", alpha=0.6, initializer="he_uniform", seed=4
    )
    network.tile_width = width
    batch = Tiles.of(make_columns(widths[0], n_samples), width)
    labels = (np.arange(n_samples) % widths[-1]).astype(np.int32)
    loss = CrossEntropy()
    expected = [{"weight": np.empty_like(layer.weight), "bias": np.empty_like(layer.bias)} for layer in network.layers]
    no_dropout = [Dropout(0.0, np.uint64(1))] * (len(widths) - 2)
    network.gradient_batch(batch, labels, loss, no_dropout, network.make_workspace(n_samples), expected)
    signals = layer_signals(network, batch, labels, loss)
    for layer, signals_of, gradients in zip(network.layers, signals, expected, strict=True):
        own = signals_of["input"]
        assert own.n_samples == n_samples
        delta, source = own.delta.matrix(), own.source.matrix()
        assert not delta[:, n_samples:].any()
        dense = delta[:, :n_samples].astype(np.float64) @ source[:, :n_samples].T.astype(np.float64)
        np.testing.assert_allclose(dense.reshape(-1)[layer.topology.keys()], gradients["weight"], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(delta.sum(axis=1), gradients["bias"], rtol=1e-4, atol=1e-6)
