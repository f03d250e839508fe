"""Runs that go on by other settings than before, and runs whose state has more than weights and velocities."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpc_sparse.monitor.metrics import CLOCK_FIELDS
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import checkpoint_path

CTX = ParallelContext.serial(threads=1)
CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [24, 17]
epsilon = 4
[training]
epochs = 4
batch_size = 16
[optimizer]
learning_rate = 0.02
[checkpoint]
every_epochs = 1
keep_last = 9
[runtime]
threads = 1
"""


@pytest.fixture
def train(tmp_path, write_small_data):
    (tmp_path / "run.toml").write_text(CONFIG)
    write_small_data(tmp_path / "data.h5")

    def run(name, *overrides, resume=None):
        request = RunRequest(tmp_path / "run.toml", overrides, tmp_path / name, resume, is_debug=True)
        train_run(CTX, request, SilentReporter())
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if key not in CLOCK_FIELDS} for line in lines]

    return run


def layers(tmp_path, name, epoch):
    return read_checkpoint(CTX, checkpoint_path(tmp_path / name / "checkpoints", epoch)).layers


def test_deep_r_goes_on_from_a_network_of_another_strategy_without_losing_half_of_it(train, tmp_path):
    before = train("set", "training.epochs=2")
    after = train("set", "evolution.strategy=deep_r", resume="auto")
    assert after[:2] == before
    n_connections = after[0]["n_connections"]
    assert after[2]["connections_changed"] < 0.05 * n_connections
    assert {line["n_connections"] for line in after} == {n_connections}
    assert "weight_sign" in layers(tmp_path, "set", 4)[0].states
    back = train("set", "training.epochs=5", resume="auto")
    assert back[:4] == after
    assert layers(tmp_path, "set", 5)[0].states.keys() == {"weight_velocity", "bias_velocity"}


ADAMW = ("training.optimizer=adamw", "optimizer.learning_rate=0.003")
AVERAGE = ("optimizer.average=snt", "optimizer.average_share=0.7")
PRUNING = tuple(
    f"importance_pruning.{key}"
    for key in ("mode=compact", "after_epoch=0", "every_epochs=1", "importance=taylor", "input_percentile=10")
)


@pytest.mark.parametrize(
    "settings",
    [
        ("evolution.strategy=deep_r", "evolution.deep_r.noise=0.01"),
        (*ADAMW, "evolution.strategy=cht", "evolution.cht.removal=soft"),
        (*ADAMW, *AVERAGE, "evolution.strategy=deep_r"),
        (*AVERAGE, "optimizer.average=plain"),
        (*PRUNING, "evolution.strategy=deep_r"),
    ],
)
def test_what_more_there_is_to_remember_is_stored_and_read(train, tmp_path, settings):
    whole = train("whole", "training.epochs=6", *settings)
    train("parts", "training.epochs=6", "checkpoint.every_epochs=3", *settings)
    # From the checkpoint in the middle, as after a run that was killed.
    checkpoint_path(tmp_path / "parts/checkpoints", 6).unlink()
    (tmp_path / "parts/summary.json").unlink()
    assert train("parts", "training.epochs=6", *settings, resume="auto") == whole
    for one, other in zip(layers(tmp_path, "whole", 6), layers(tmp_path, "parts", 6), strict=True):
        for own, same in ((one.parameters, other.parameters), (one.states, other.states)):
            assert own.keys() == same.keys()
            assert all(np.array_equal(values, same[name]) for name, values in own.items())


def test_in_the_end_the_network_is_the_mean_of_the_last_epochs(train, tmp_path):
    settings = ("optimizer.average=plain", "optimizer.average_share=0.5", "evolution.strategy=static")
    averaged, plain = train("averaged", *settings), train("plain", settings[-1])
    assert [one["test_loss"] == other["test_loss"] for one, other in zip(averaged, plain, strict=True)][:2] == [
        True
    ] * 2
    assert averaged[3]["test_loss"] != plain[3]["test_loss"]
    last = layers(tmp_path, "averaged", 4)
    for number, layer in enumerate(last):
        for name, values in layer.parameters.items():
            own = [layers(tmp_path, "plain", epoch)[number].parameters[name] for epoch in (3, 4)]
            np.testing.assert_allclose(values, np.mean(own, axis=0), rtol=1e-5, atol=1e-7)
