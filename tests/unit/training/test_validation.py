"""Held-out samples are evaluated and never trained on; nothing in training depends on them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.first_topology import choose_first_topology
from hpc_sparse.storage.dataset.samples import DenseFeatures
from hpc_sparse.storage.dataset.validation import set_apart
from hpc_sparse.training.evaluation import EpochEvaluation
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.replica_states import (
    initial_replica,
)

CTX = ParallelContext.serial(threads=1)


@pytest.fixture
def held_out(make_dataset):
    """A data set of which every fourth training sample is held out."""

    def make(**options):
        dataset = make_dataset(**options)
        train, validation = set_apart(dataset.train, np.arange(dataset.train.n_samples) % 4 == 0)
        return dataclasses.replace(dataset, train=train, validation=validation, n_validation=validation.n_samples)

    return make


def trained(config, dataset):
    """The job after all epochs, and their metrics."""
    job = TrainingJob(CTX, config, dataset, initial_replica(config, dataset.info), SilentReporter())
    choose_first_topology(job)
    trainer = LocalTrainer.start(job)
    return job, [trainer.train_epoch(epoch) for epoch in range(1, config.training.epochs + 1)]


@pytest.mark.parametrize("kind", ["float32", "csr"])
def test_loss_and_accuracy_are_those_of_the_held_out_samples(make_config, held_out, kind):
    job, history = trained(make_config(), held_out(kind=kind))
    data = job.dataset
    again = EpochEvaluation(
        job.replica.network,
        CrossEntropy(),
        dataclasses.replace(data, test=data.validation, validation=data.test),
        job.make_assembler(),
        job.make_workspace(),
        job.config.training.batch_size,
    ).finish()
    assert (history[-1].validation_loss, history[-1].validation_accuracy) == (again.test_loss, again.test_accuracy)
    assert (history[-1].test_loss, history[-1].test_accuracy) == (again.validation_loss, again.validation_accuracy)
    assert history[-1].validation_accuracy * data.n_validation == pytest.approx(
        round(history[-1].validation_accuracy * data.n_validation)
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ("evolution.strategy=rigl", "evolution.growth_pool=1000"),
        ("network.initial_topology=snip", "network.epsilon=3"),
        ("network.initial_topology=csti", "network.epsilon=3"),
        ("importance_pruning.mode=compact", "importance_pruning.after_epoch=0", "importance_pruning.every_epochs=1"),
    ],
)
def test_training_evolution_and_first_topologies_never_see_the_held_out_samples(make_config, held_out, overrides):
    config, dataset = make_config(*overrides), held_out()
    zeros = DenseFeatures(np.zeros_like(dataset.validation.features.values))
    others = dataclasses.replace(dataset, validation=dataclasses.replace(dataset.validation, features=zeros))
    (job, history), (other_job, other_history) = trained(config, dataset), trained(config, others)
    assert network_digest(job.replica.network) == network_digest(other_job.replica.network)
    assert [metrics.train_loss for metrics in history] == [metrics.train_loss for metrics in other_history]
    assert history[-1].validation_loss != other_history[-1].validation_loss


def test_an_epoch_has_as_many_steps_as_the_samples_that_are_trained_on_make(make_config, held_out):
    dataset = held_out(n_train=230)
    job = TrainingJob(CTX, make_config(), dataset, initial_replica(make_config(), dataset.info), SilentReporter())
    assert (dataset.n_train, LocalTrainer.start(job).n_steps) == (172, 9)


def test_without_a_validation_part_no_metric_speaks_of_one(make_config, make_dataset):
    _, history = trained(make_config("training.epochs=1"), make_dataset())
    assert not [name for name in history[0].as_dict() if "validation" in name]
