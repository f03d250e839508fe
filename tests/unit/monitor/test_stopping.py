"""Requests to stop, and runs that stop within an epoch and go on as if nothing had been."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import ConfigError, PlannedStop
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.monitor.stopping import SIGNALS, TIME_LIMIT, StopAgreement, StopRequest, describe_reason
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run

CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [24, 17]
epsilon = 4
[training]
epochs = 3
batch_size = 16
[optimizer]
momentum_correction = true
schedule = "step"
step_epochs = 1
[runtime]
threads = 1
"""


class AskedAfter(StopRequest):
    """Is asked to stop when it has been looked at so many times."""

    def __init__(self, n_looks: int) -> None:
        super().__init__()
        self._n_left = n_looks

    @property
    def reason(self) -> int:
        self._n_left -= 1
        return signal.SIGTERM if self._n_left < 0 else 0


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_a_request(number):
    request = StopRequest()
    with request.listening():
        assert request.reason == 0
        os.kill(os.getpid(), number)
        assert request.reason == number
    assert describe_reason(number) == signal.Signals(number).name


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest().listening():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_too_late_changes_nothing(number):
    before = {each: signal.getsignal(each) for each in SIGNALS}
    with StopRequest().listening(until_the_end=True):
        pass
    try:
        os.kill(os.getpid(), number)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_second_interrupt_is_one():
    request = StopRequest()
    with request.listening():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_time_limit_counts_from_the_start_that_is_given():
    request = StopRequest()
    request.set_time_limit(100.0, time.monotonic())
    assert request.reason == 0
    request.set_time_limit(100.0, time.monotonic() - 101.0)
    assert request.reason == TIME_LIMIT
    assert describe_reason(request.reason) == "time limit"
    request.set_time_limit(0.0, time.monotonic() - 101.0)
    assert request.reason == 0


def test_one_rank_stops_at_once():
    agreement = StopAgreement(ParallelContext.serial(threads=1), AskedAfter(2), seconds=1e9)
    assert [agreement.step() for _ in range(3)] == [0, 0, signal.SIGTERM]


@pytest.fixture
def folder(tmp_path: Path, write_small_data) -> Path:
    write_small_data(tmp_path / "data.h5")
    (tmp_path / "run.toml").write_text(CONFIG)
    return tmp_path


def state(checkpoint: Path) -> dict[str, bytes]:
    found = {}
    with h5py.File(checkpoint, "r") as file:
        file.visititems(
            lambda name, item: (
                found.update({name: np.asarray(item[()]).tobytes()})
                if isinstance(item, h5py.Dataset) and name not in {"config", "metrics/values"}
                else None
            )
        )
    return found


def run(folder: Path, output: str, request: StopRequest | None, *overrides: str) -> Path:
    asked = RunRequest(folder / "run.toml", overrides, folder / output, resume="auto", is_debug=True)
    train_run(ParallelContext.serial(threads=1), asked, SilentReporter(), request)
    return folder / output / "checkpoints" / "checkpoint-000003.h5"


@pytest.mark.parametrize("pruning", ["off", "compact"])
@pytest.mark.parametrize("n_steps", [1, 3, 7])
def test_a_run_that_stops_every_few_steps_is_bit_by_bit_the_uninterrupted_one(folder, n_steps, pruning):
    overrides = (f"importance_pruning.mode={pruning}", "importance_pruning.after_epoch=0")
    overrides += ("importance_pruning.every_epochs=1", "importance_pruning.input_percentile=0")
    whole = state(run(folder, "whole", None, *overrides))
    for _ in range(200):
        try:
            stopped = run(folder, "parts", AskedAfter(n_steps - 1), *overrides)
            break
        except PlannedStop:
            continue
    else:
        pytest.fail("no end")
    assert state(stopped) == whole
    lines = [(folder / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts")]
    assert len(lines[0]) == len(lines[1]) == 3


def test_an_unfinished_epoch_begins_again_with_other_batches(folder):
    with pytest.raises(PlannedStop, match="SIGTERM") as stop:
        run(folder, "run", AskedAfter(2))
    assert stop.value.exit_code == 75
    assert [path.name for path in (folder / "run/checkpoints").iterdir()] == ["checkpoint-000000+000003.h5"]
    run(folder, "run", None, "training.batch_size=8")
    assert len((folder / "run/metrics.jsonl").read_text().splitlines()) == 3
    assert [path.name for path in (folder / "run/checkpoints").iterdir()] == ["checkpoint-000003.h5"]


def test_a_run_is_not_over_in_the_middle_of_an_epoch(folder):
    with pytest.raises(PlannedStop, match="after 1 epochs and 5 steps"):
        run(folder, "run", AskedAfter(25))
    before = {path.name: path.read_bytes() for path in (folder / "run").iterdir() if path.is_file()}
    with pytest.raises(ConfigError, match=r"training\.epochs = 1: .* has 1 epochs behind it; ask for more"):
        run(folder, "run", None, "training.epochs=1")
    assert {path.name: path.read_bytes() for path in (folder / "run").iterdir() if path.is_file()} == before


def test_a_stop_after_the_last_step_is_none(folder):
    n_looks = 3 * len((folder / "run.toml").read_text())  # more than there are steps
    assert run(folder, "run", AskedAfter(n_looks)).exists()
