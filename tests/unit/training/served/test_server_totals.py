"""What the serving rank counts in an epoch."""

from __future__ import annotations

import pytest

from hpc_sparse.network.network import Network
from hpc_sparse.parallel.gradient_exchange import GradientHeader
from hpc_sparse.training.evaluation import Scores
from hpc_sparse.training.served.server_totals import STALENESS_BINS, ServerTotals

NETWORK = Network.random([4, 5, 3], [1.0, 1.0], activation="relu", alpha=0, initializer="normal", seed=1)


def header(n_samples=10, n_correct=5, loss=20.0, compute=3.0, wait=1.0):
    return GradientHeader(0, 0, n_samples, n_correct, 0, loss, compute, wait)


def test_losses_and_accuracies_are_means_over_samples_not_over_batches():
    totals = ServerTotals(3, 0.05, 7)
    totals.add(header(), 0)
    totals.add(header(n_samples=30, n_correct=25, loss=4.0), 0)
    metrics = totals.to_metrics(NETWORK, Scores(0.5, 0.75), n_workers=2)
    assert (metrics.train_loss, metrics.train_accuracy) == (24 / 40, 30 / 40)
    assert totals.mean_loss == 24 / 40
    assert (metrics.test_loss, metrics.test_accuracy) == (0.5, 0.75)
    assert (metrics.epoch, metrics.learning_rate, metrics.connections_changed, metrics.phase) == (3, 0.05, 7, 1)
    assert (metrics.n_connections, metrics.n_neurons) == (35, 12)


def test_staleness_is_counted_one_by_one_and_the_last_bin_holds_all_above():
    totals = ServerTotals(1, 0.05, 0)
    for staleness in (0, 2, 2, STALENESS_BINS - 1, STALENESS_BINS, 10_000):
        totals.add(header(), staleness)
    counts = totals.to_metrics(NETWORK, Scores(0.0, 0.0), n_workers=1).staleness_counts
    assert counts == (1, 0, 2, *[0] * (STALENESS_BINS - 4), 3)


def test_trailing_bins_without_gradients_are_left_out():
    totals = ServerTotals(1, 0.05, 0)
    assert totals.to_metrics(NETWORK, Scores(0.0, 0.0), n_workers=1).staleness_counts == ()
    for staleness in (0, 3, 3):
        totals.add(header(), staleness)
    assert totals.to_metrics(NETWORK, Scores(0.0, 0.0), n_workers=1).staleness_counts == (1, 0, 0, 2)


def test_the_workers_waiting_share_is_of_their_own_time():
    totals = ServerTotals(1, 0.05, 0)
    totals.add(header(compute=3.0, wait=1.0), 0)
    totals.add(header(compute=5.0, wait=7.0), 0)
    metrics = totals.to_metrics(NETWORK, Scores(0.0, 0.0), n_workers=2)
    assert metrics.wait_share == pytest.approx(8 / 16)
    assert metrics.sync_seconds == pytest.approx(8 / 2)


def test_an_epoch_without_gradients_has_no_means_to_divide_by():
    metrics = ServerTotals(1, 0.05, 0).to_metrics(NETWORK, Scores(0.0, 0.0), n_workers=2)
    assert (metrics.train_loss, metrics.train_accuracy, metrics.wait_share) == (0, 0, 0)


def test_a_tally_survives_being_stored_within_its_epoch():
    totals = ServerTotals(3, 0.05, 7, n_discarded=2, n_bytes=1000, train=1.5, evolve=0.25, evaluate=0.125)
    for staleness in (0, 3, 40):
        totals.add(header(), staleness)
    again = ServerTotals.from_sums(totals.to_sums())
    assert again == totals
    again.add(header(), 1)
    assert again.to_metrics(NETWORK, Scores(0.0, 0.0), n_workers=1).staleness_counts[:2] == (1, 1)
    assert totals.to_metrics(NETWORK, Scores(0.0, 0.0), n_workers=1).staleness_counts[:2] == (1, 0)


def test_the_seconds_of_each_worker_are_kept_apart_and_the_server_is_rank_0():
    totals = ServerTotals(1, 0.05, 0, train=9.0, evolve=0.5, evaluate=2.0)
    totals.add(header(compute=3.0, wait=1.0), 0, worker=2)
    totals.add(header(compute=5.0, wait=7.0), 0, worker=1)
    totals.add(header(compute=2.0, wait=0.5), 0, worker=2)
    assert totals.to_metrics(NETWORK, Scores(0.0, 0.0), n_workers=3, file_seconds=0.25).rank_seconds == {
        "train": (0.0, 5.0, 5.0, 0.0),
        "sync": (7.0, 7.0, 1.5, 0.0),
        "evolve": (0.5, 0.0, 0.0, 0.0),
        "evaluate": (2.0, 0.0, 0.0, 0.0),
        "files": (0.25, 0.0, 0.0, 0.0),
    }


def test_an_epoch_that_was_continued_has_no_seconds_of_its_workers():
    totals = ServerTotals.from_sums(ServerTotals(1, 0.05, 0).to_sums())
    totals.add(header(), 0, worker=1)
    assert totals.to_metrics(NETWORK, Scores(0.0, 0.0), n_workers=1).rank_seconds == {}
