"""Lengths of phases and epochs of WASAP-SGD and WASSP-SGD, and which rank takes which samples."""

from __future__ import annotations

import dataclasses

import pytest

from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.rates import last_served_epoch
from hpc_sparse.training.replica_states import (
    initial_replica,
)
from hpc_sparse.training.served.server import n_updates_per_epoch
from hpc_sparse.training.trainer import is_served, make_trainer, shares

CTX = ParallelContext.serial(threads=1)


def rank(number, size):
    return dataclasses.replace(CTX, rank=number, size=size)


@pytest.mark.parametrize(
    ("n_epochs", "share", "expected"),
    [
        (500, 0.1, 450),
        (500, 0.3, 350),
        (500, 0, 500),
        (10, 0.1, 9),
        (4, 0.1, 4),
        (1, 0.9, 1),
        (3, 0.99, 1),
        (6, 0.5, 3),
    ],
)
def test_phase_2_is_a_share_of_the_epochs_and_leaves_phase_1_at_least_one(make_config, n_epochs, share, expected):
    config = make_config(f"training.epochs={n_epochs}", f"parallel.phase2_share={share}")
    assert last_served_epoch(config) == expected


@pytest.mark.parametrize(
    ("strategy", "n_train", "expected"),
    [("wasap", 230, 11), ("wassp", 230, 3), ("wasap", 19, 1), ("wassp", 59, 1), ("wassp", 120, 2)],
)
def test_an_epoch_is_so_many_updates_that_it_takes_all_samples_once(
    make_config, make_dataset, strategy, n_train, expected
):
    # Batches of 20 on three workers.
    config, dataset = make_config(f"parallel.algorithm={strategy}"), make_dataset(n_train=n_train)
    job = TrainingJob(rank(0, 4), config, dataset, initial_replica(config, dataset.info), SilentReporter())
    assert n_updates_per_epoch(job) == expected


@pytest.mark.parametrize(("n_train", "n_test"), [(230, 101), (3, 2)])
def test_workers_share_all_samples_and_the_server_tests_on_all(make_config, n_train, n_test):
    config = make_config("parallel.algorithm=wasap")
    (no_samples, all_tests), *workers = (shares(rank(number, 4), config) for number in range(4))
    assert no_samples.range(n_train) == (0, 0)
    assert all_tests.range(n_test) == (0, n_test)
    for which, n_samples in ((0, n_train), (1, n_test)):
        bounds = [worker[which].range(n_samples) for worker in workers]
        assert bounds[0][0] == 0
        assert bounds[-1][1] == n_samples
        assert [stop for _, stop in bounds[:-1]] == [start for start, _ in bounds[1:]]


def test_without_a_server_every_rank_takes_its_share_of_both_parts(make_config):
    config = make_config()
    found = [shares(rank(number, 3), config) for number in range(3)]
    assert [[share.range(7) for share in both] for both in found] == [[(0, 3)] * 2, [(3, 5)] * 2, [(5, 7)] * 2]


def test_one_rank_is_not_served_and_trains_itself(make_config, make_dataset):
    dataset = make_dataset()
    for strategy in ("wasap", "wassp", "local_sgd"):
        config = make_config(f"parallel.algorithm={strategy}")
        assert not is_served(CTX, config)
        assert is_served(rank(1, 2), config) == (strategy != "local_sgd")
        job = TrainingJob(CTX, config, dataset, initial_replica(config, dataset.info), SilentReporter())
        assert isinstance(make_trainer(job), LocalTrainer)
        assert [share.range(9) for share in shares(CTX, config)] == [(0, 9), (0, 9)]
