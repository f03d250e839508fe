"""Means of weights over epochs, with connections that come and go."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.errors import ConfigError
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.weight_average import WeightAverage

N_EPOCHS = 7


def history(kind):
    """Dense weights of each epoch, 0 where there is no connection; and the replica at the end."""
    rng, shape = np.random.default_rng(3), (4, 6)
    average = WeightAverage(kind, 2, N_EPOCHS + 1)
    topology = Topology.from_keys(shape, np.array([0, 5, 7, 11, 16, 22]))
    layer = SparseLayer.of(topology, np.zeros(6, np.float32), np.zeros(4, np.float32), 1.0)
    replica = Replica.at_rest(
        Network([layer], tile_width=WIDTHS[0]), dict.fromkeys(("velocity", *average.state_arrays), np.float32)
    )
    epochs, biases = [], []
    for epoch in range(1, N_EPOCHS + 1):
        own = replica.network.layers[0].topology
        if epoch in {4, 6}:
            is_kept = np.arange(6) != epoch % 5
            free = np.setdiff1d(np.arange(24), own.keys())[epoch : epoch + 1]
            replica.follow(0, {"input": own.replaced(is_kept, free)})
        layer = replica.network.layers[0]
        layer.weight[:] = rng.standard_normal(6)
        layer.bias[:] = rng.standard_normal(4)
        average.update(replica, epoch)
        dense = np.full(24, np.nan)
        dense[layer.topology.keys()] = layer.weight
        epochs.append(dense)
        biases.append(layer.bias.copy())
    return average, replica, np.array(epochs), np.array(biases)


def test_the_plain_mean_is_over_all_epochs_with_nothing_before_a_connection_grew():
    average, replica, epochs, biases = history("plain")
    keys = replica.network.layers[0].topology.keys()
    present = np.array(epochs)[1:, keys]
    for column in present.T:
        last_gap = np.flatnonzero(np.isnan(column))
        column[: last_gap[-1] + 1 if last_gap.size else 0] = 0
    np.testing.assert_allclose(replica.states[0]["average"]["weight"], present.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(replica.states[0]["average"]["bias"], biases[1:].mean(axis=0), rtol=1e-5)
    assert list(average.state_arrays) == ["average"]


def test_the_mean_that_survives_rewiring_begins_with_each_connection():
    _, replica, epochs, _ = history("snt")
    keys = replica.network.layers[0].topology.keys()
    expected = []
    for key in keys:
        column = epochs[1:, key]
        gap = np.flatnonzero(np.isnan(column))
        own = column[gap[-1] + 1 :] if gap.size else column
        expected.append(own[-1] if own.size <= 2 else own[1:].mean())
    np.testing.assert_allclose(replica.states[0]["average"]["weight"], expected, rtol=1e-5)
    assert len(set(replica.states[0]["average_age"]["weight"])) == 3


def test_the_network_predicts_by_the_means_for_a_while_and_in_the_end_for_good():
    average, replica, _, _ = history("plain")
    layer, mean = replica.network.layers[0], replica.states[0]["average"]["weight"].copy()
    own = layer.weight.copy()
    with average.in_use(replica, 1):
        np.testing.assert_array_equal(layer.weight, own)
    with average.in_use(replica, N_EPOCHS):
        np.testing.assert_array_equal(layer.weight, mean)
    np.testing.assert_array_equal(layer.weight, own)
    with average.in_use(replica, N_EPOCHS + 1):
        pass
    np.testing.assert_array_equal(layer.weight, mean)


def test_a_share_of_the_epochs_is_averaged_and_at_least_the_last(make_config):
    def of(*names):
        return WeightAverage.from_config(make_config("training.epochs=50", *names))

    assert of() is None
    assert of("optimizer.average=snt") == WeightAverage("snt", 46, 50)
    assert of("optimizer.average=plain", "optimizer.average_share=0.001") == WeightAverage("plain", 50, 50)
    with pytest.raises(ConfigError, match=r'average = "snt": not with parallel.algorithm = "wasap"'):
        of("optimizer.average=snt", "parallel.algorithm=wasap")
