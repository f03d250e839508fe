"""Metrics of epochs and the summary of a run."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.monitor.metrics import (
    CLOCK_FIELDS,
    EpochMetrics,
    best_epoch,
    by_rank,
    peak_rss_bytes,
    summarize,
    to_json,
    versions,
)
from hpc_sparse.network.network import Network
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.training.evaluation import mean_over_ranks

CTX = ParallelContext.serial(threads=2)
NAMES = (
    *("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "n_connections", "connections_changed"),
    *("train_seconds", "evolve_seconds", "sync_seconds", "sync_bytes", "evaluate_seconds", "learning_rate"),
)
LATER_NAMES = (
    "n_neurons",
    "phase",
    "n_discarded",
    "staleness_counts",
    "wait_share",
    "parts_test_accuracy",
    "rank_seconds",
)


def make_metrics(epoch, **changes):
    values = dict.fromkeys(NAMES, 0.5) | {"epoch": epoch, "n_connections": 10, "sync_bytes": 0}
    return EpochMetrics(**(values | changes))


def test_a_line_has_the_agreed_names_in_order():
    assert tuple(make_metrics(1).as_dict()) == NAMES + LATER_NAMES
    metrics = make_metrics(
        1,
        staleness_counts=(3, 0, 1),
        parts_test_accuracy=(0.5, 0.25),
        n_neurons=7,
        phase=2,
        rank_seconds=by_rank([(1.25, 0.5, 0, 0.125, 0), (1.5, 0.25, 0, 0.125, 0.00012345)]),
    )
    assert metrics.rank_seconds["train"] == (1.25, 1.5)
    assert metrics.rank_seconds["files"] == (0, 0.0001)
    assert EpochMetrics.from_json(to_json(metrics.as_dict())) == metrics


def test_what_a_clock_has_a_part_in_is_the_seconds_and_the_share_of_waiting():
    assert {name for name in (*NAMES, *LATER_NAMES) if name.endswith("_seconds")} | {"wait_share"} == CLOCK_FIELDS


def test_a_line_of_an_earlier_version_is_understood():
    values = make_metrics(1).as_dict()
    old = {name: values[name] for name in NAMES}
    assert EpochMetrics.from_json(json.dumps(old)) == make_metrics(1)
    with pytest.raises(TypeError):
        EpochMetrics.from_json(json.dumps(old | {"of_tomorrow": 1}))


def test_numbers_that_are_not_finite_are_stored_as_null_also_within_a_list_and_come_back():
    metrics = make_metrics(1, test_accuracy=math.nan, parts_test_accuracy=(math.nan, 0.5))
    line = to_json(metrics.as_dict())
    assert json.loads(line)["parts_test_accuracy"] == [None, 0.5]
    again = EpochMetrics.from_json(line)
    assert math.isnan(again.test_accuracy)
    assert math.isnan(again.parts_test_accuracy[0])
    assert again.parts_test_accuracy[1] == 0.5


def test_the_numbers_of_an_epoch_leave_out_the_lists():
    numbers = make_metrics(2, staleness_counts=(3, 1)).numbers()
    assert set(numbers) == {*NAMES, *LATER_NAMES} - {"staleness_counts", "parts_test_accuracy", "rank_seconds"}
    assert numbers["epoch"] == 2.0
    assert {type(number) for number in numbers.values()} == {float}


def test_a_summary_reports_the_last_epoch_and_names_the_best():
    history = [
        make_metrics(1, test_accuracy=0.5, train_seconds=9.0),
        make_metrics(2, test_accuracy=0.8, train_seconds=2.0),
        make_metrics(3, test_accuracy=0.7, train_seconds=1.0, test_loss=0.25),
    ]
    network = Network.random([4, 5, 3], [1.0, 1.0], activation="relu", alpha=0, initializer="normal", seed=1)
    states = {"weight_velocity": np.zeros(35, np.uint16), "bias_velocity": np.zeros(8, np.float32)}
    summary = summarize(CTX, network, history, 100, 13.0, 12345, states)
    assert summary.pop("versions") == versions()
    assert summary == {
        "test_accuracy": 0.7,
        "best_test_accuracy": 0.8,
        "best_test_epoch": 2,
        "test_loss": 0.25,
        "n_neurons": 12,
        "n_connections": 35,
        "n_parameters": 43,
        "density": 1.0,
        "epochs": 3,
        "n_ranks": 1,
        "n_threads": 2,
        "ranks_per_network": 1,
        "instructions": INSTRUCTION_SET.name,
        "tile_width": network.tile_width,
        "optimizer_states": {"weight_velocity": "bfloat16", "bias_velocity": "float32"},
        "median_train_seconds": 2.0,
        "total_seconds": 13.0,
        "peak_rss_bytes": 12345,
        "training_rate": 35 * 100 / 2.0,
    }


def test_epochs_are_compared_by_the_validation_part_where_there_is_one():
    epochs = [make_metrics(number, test_accuracy=accuracy) for number, accuracy in ((1, math.nan), (2, 0.6), (3, 0.6))]
    assert best_epoch(epochs).epoch == 2
    assert best_epoch(epochs[:1]).epoch == 1
    accuracies = (0.8, 0.9, math.nan)
    validated = [
        dataclasses.replace(metrics, validation_loss=1.0, validation_accuracy=accuracy)
        for metrics, accuracy in zip(epochs[::-1], accuracies, strict=True)
    ]
    assert best_epoch(validated) is validated[1]
    assert [metrics.has_validation for metrics in (*epochs[:1], *validated[:1])] == [False, True]


def test_a_validation_part_has_its_place_in_lines_numbers_and_the_summary():
    metrics = make_metrics(1, test_accuracy=0.7, test_loss=0.3, validation_loss=math.nan, validation_accuracy=0.75)
    line = to_json(metrics.as_dict())
    assert tuple(json.loads(line)) == (*NAMES, *LATER_NAMES, "validation_loss", "validation_accuracy")
    again = EpochMetrics.from_json(line)
    assert again.validation_loss is not None
    assert math.isnan(again.validation_loss)
    assert metrics.numbers()["validation_accuracy"] == 0.75
    better = dataclasses.replace(metrics, epoch=2, test_accuracy=0.6, validation_loss=0.4, validation_accuracy=0.8)
    network = Network.random([4, 5, 3], [1.0, 1.0], activation="relu", alpha=0, initializer="normal", seed=1)
    summary = summarize(CTX, network, [metrics, better, dataclasses.replace(metrics, epoch=3)], 100, 13.0, 12345)
    assert list(summary)[:7] == [
        *("test_accuracy", "test_loss", "validation_accuracy", "validation_loss"),
        *("best_validation_accuracy", "best_validation_epoch", "test_accuracy_of_best"),
    ]
    assert [summary[name] for name in list(summary)[4:7]] == [0.8, 2, 0.6]
    assert "best_test_accuracy" not in summary


def test_metrics_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_metrics(1).epoch = 2


def test_memory_and_versions_are_measured():
    assert 10_000_000 < peak_rss_bytes() < 2**40
    assert {"python", "numpy", "numba", "llvmlite", "h5py"} <= versions().keys()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say it apart from the starting process's")
def test_the_memory_of_the_process_that_starts_another_is_not_counted():
    held = np.ones(2**26)
    program = "from hpc_sparse.monitor.metrics import peak_rss_bytes; print(peak_rss_bytes())"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(shown) < held.nbytes < peak_rss_bytes()


def test_means_are_over_samples_and_undefined_without_any():
    assert mean_over_ranks(CTX, 6.0, 3, 4) == (1.5, 0.75)
    loss, accuracy = mean_over_ranks(CTX, 0.0, 0, 0)
    assert loss != loss
    assert accuracy != accuracy
