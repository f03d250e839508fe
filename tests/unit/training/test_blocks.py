"""Training with connections in blocks: those of one weight are unstructured ones, and edges stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.replica_states import initial_replica

STRATEGIES = ["set", "gse", "rigl", "deep_r"]


def trained(make_config, make_dataset, *overrides):
    config, dataset = make_config("training.epochs=4", *overrides), make_dataset()
    replica = initial_replica(config, dataset.info)
    job = TrainingJob(ParallelContext.serial(1), config, dataset, replica, SilentReporter(), is_debug=True)
    trainer = LocalTrainer.start(job)
    losses = [trainer.train_epoch(epoch).train_loss for epoch in (1, 2, 3, 4)]
    return replica, losses


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_blocks_of_one_weight_train_to_the_bits_of_unstructured_connections(make_config, make_dataset, strategy):
    usual, names = f"evolution.strategy={strategy}", ("network.connections=block", "network.block=[1,1]")
    (one, losses), (other, of_other) = (trained(make_config, make_dataset, usual, *more) for more in ((), names))
    assert losses == of_other
    for layer, its, state, of_its in zip(
        one.network.layers, other.network.layers, one.states, other.states, strict=True
    ):
        np.testing.assert_array_equal(layer.topology.keys(), its.topology.keys())
        np.testing.assert_array_equal(layer.weight, its.weight)
        np.testing.assert_array_equal(state["velocity"]["weight"], of_its["velocity"]["weight"])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_blocks_learn_and_weights_beyond_the_layer_stay_0(make_config, make_dataset, strategy):
    names = ("network.connections=block", "network.block=[4,8]", "network.epsilon=9")
    settings = (f"evolution.strategy={strategy}", "optimizer.weight_decay=0.001")
    replica, losses = trained(make_config, make_dataset, *names, *settings)
    assert losses[-1] < losses[0]
    for layer in replica.network.layers[:-1]:
        connections = layer.connections()[INPUT]
        n_out, n_in = connections.shape
        assert (n_out % 4, n_in % 8) != (0, 0)
        dense = connections.to_bsr().toarray()
        assert not dense[n_out:].any()
        assert not dense[:, n_in:].any()


def test_a_layer_shrinks_by_whole_blocks(make_config, make_dataset):
    names = ("network.connections=block", "network.block=[4,4]", "network.density=0.6", "evolution.final_density=0.2")
    replica, _ = trained(make_config, make_dataset, *names)
    weights = sum(each.weight.size for each in replica.network.incoming()[:-1])
    possible = sum(each.topology.n_possible * 16 for each in replica.network.incoming()[:-1])
    assert weights / possible == pytest.approx(0.2, abs=0.03)
