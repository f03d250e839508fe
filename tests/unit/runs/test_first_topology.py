"""Initial topologies that depend on the data, in a new replica."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.errors import ConfigError
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.densities import MOST_DENSE
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.first_topology import choose_first_topology, source_network
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.replica_states import (
    initial_replica,
)

CTX = ParallelContext.serial(threads=1)


@pytest.fixture
def chosen(make_config, make_dataset):
    """The configuration, the network at random, and with the topology from the data."""

    def choose(*overrides):
        config, dataset = make_config("evolution.growth_samples=40", "network.density=0.08", *overrides), make_dataset()
        before, after = (initial_replica(config, dataset.info) for _ in range(2))
        choose_first_topology(TrainingJob(CTX, config, dataset, after, SilentReporter()))
        after.check_invariants()
        return config, before.network, after.network

    return choose


@pytest.mark.parametrize("topology", ["snip", "grasp"])
@pytest.mark.parametrize("initializer", ["he_uniform", "he_fan_in"])
def test_the_best_connections_of_the_source_stay_as_many_as_were_wanted(chosen, topology, initializer):
    config, before, after = chosen(f"network.initial_topology={topology}", f"network.initializer={initializer}")
    assert after.n_connections == before.n_connections
    source = source_network(config, before.widths)
    assert source.n_connections > 2 * before.n_connections
    for old, new, candidates in zip(before.layers[:-1], after.layers[:-1], source.layers[:-1], strict=True):
        keys = candidates.topology.keys()
        position = np.searchsorted(keys, new.topology.keys())
        np.testing.assert_array_equal(keys[position], new.topology.keys())
        assert not np.array_equal(old.topology.keys(), new.topology.keys())
        if initializer == "he_uniform":
            np.testing.assert_array_equal(candidates.weight[position], new.weight)
        else:
            bound = np.repeat(np.sqrt(6 / np.maximum(1, new.topology.fan_in())), new.topology.fan_in())
            assert (np.abs(new.weight) <= bound * 1.0001).all()
    np.testing.assert_array_equal(before.layers[-1].topology.keys(), after.layers[-1].topology.keys())
    np.testing.assert_array_equal(before.layers[-1].weight, after.layers[-1].weight)


def test_correlations_decide_about_all_layers_but_the_output(chosen):
    _, before, after = chosen("network.initial_topology=csti")
    *hidden, output = zip(before.layers, after.layers, strict=True)
    for old, new in hidden:
        assert old.topology.n_connections == new.topology.n_connections
        assert not np.array_equal(old.topology.keys(), new.topology.keys())
    np.testing.assert_array_equal(output[0].topology.keys(), output[1].topology.keys())
    np.testing.assert_array_equal(output[0].weight, output[1].weight)


def test_patterns_drawn_at_random_are_left_alone(chosen):
    _, before, after = chosen("network.initial_topology=constant_fan_in")
    for old, new in zip(before.layers, after.layers, strict=True):
        np.testing.assert_array_equal(old.topology.keys(), new.topology.keys())


def test_no_source_is_dense(make_config):
    config = make_config("network.initial_topology=snip", "network.density=0.3", "network.source_ratio=100")
    for layer in source_network(config, [50, 60, 70, 3]).layers:
        n_out, n_in = layer.topology.shape
        assert layer.topology.n_connections < (MOST_DENSE + 0.1) * n_out * n_in


@pytest.mark.parametrize("topology", ["snip", "csti"])
def test_a_linear_model_keeps_its_connections(chosen, topology):
    _, before, after = chosen(f"network.initial_topology={topology}", "network.hidden=[]", "network.density=0.3")
    np.testing.assert_array_equal(before.layers[0].weight, after.layers[0].weight)


def test_grasp_is_refused_without_its_loss(make_config):
    with pytest.raises(ConfigError, match=r'topology = "grasp": not with training.loss = "mse"'):
        make_config("network.initial_topology=grasp", "training.loss=mse")
