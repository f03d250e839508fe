"""Ranks that agree to stop although one of them was asked, and go on as if nothing had been."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_sparse.errors import PlannedStop
from hpc_sparse.monitor.metrics import CLOCK_FIELDS
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.monitor.stopping import TIME_LIMIT, StopAgreement, StopRequest
from hpc_sparse.parallel.collectives import barrier, gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint

CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [24, 17]
epsilon = 4
[training]
epochs = 4
batch_size = 4
[runtime]
threads = 1
oversubscribe = true
"""
# What a stop may cost: time, and bytes, as topologies are sent anew.
NOT_COMPARED = CLOCK_FIELDS | {"sync_bytes"}


class AskedAfter(StopRequest):
    """Is asked to stop when it has been looked at so many times."""

    def __init__(self, n_looks: float, reason: int = signal.SIGUSR1) -> None:
        super().__init__()
        self._n_left, self._reason = n_looks, reason

    @property
    def reason(self) -> int:
        self._n_left -= 1
        return self._reason if self._n_left < 0 else 0


@pytest.mark.mpi(ranks=[2, 3])
@pytest.mark.parametrize("reason", [signal.SIGTERM, TIME_LIMIT])
def test_all_ranks_stop_at_the_same_step_for_the_same_reason(ctx, reason):
    agreement = StopAgreement(ctx, AskedAfter(4 if ctx.rank == ctx.size - 1 else 1e9, reason), seconds=1e-6)
    found = [agreement.step() for _ in range(12)]
    first = next(number for number, each in enumerate(found) if each)
    assert found[first] == reason
    assert gather_objects(ctx, first) == [first] * ctx.size
    agreement.finish()


@pytest.mark.mpi(ranks=2)
def test_nobody_asks_and_nobody_stops(ctx):
    agreement = StopAgreement(ctx, StopRequest(), seconds=5.0)
    assert [agreement.step() for _ in range(50)] == [0] * 50
    agreement.finish()


@pytest.fixture
def run(ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]):
    """Train until the end, stopping every time one of the last ranks has looked so often; state and metrics then."""

    def write() -> None:
        (mpi_tmp_path / "run.toml").write_text(CONFIG)
        write_small_data(mpi_tmp_path / "data.h5")

    on_root(ctx, write)

    def run_once(output: str, n_looks: float, *overrides: str, n_asked: int = 1):
        asked = RunRequest(mpi_tmp_path / "run.toml", overrides, mpi_tmp_path / output, resume="auto")
        n_stops = 0
        while True:
            request = AskedAfter(n_looks if ctx.rank >= ctx.size - n_asked else 1e9)
            try:
                train_run(ctx, asked, SilentReporter(), request)
                break
            except PlannedStop:
                n_stops += 1
                assert n_stops < 100
        barrier(ctx)
        newest = newest_checkpoint(mpi_tmp_path / output / "checkpoints")
        assert newest is not None
        layers = read_checkpoint(ctx, newest).layers
        lines = (mpi_tmp_path / output / "metrics.jsonl").read_text().splitlines()
        metrics = [{key: value for key, value in json.loads(line).items() if key not in NOT_COMPARED} for line in lines]
        return [array.tobytes() for layer in layers for array in layer.arrays().values()], metrics, n_stops

    return run_once


SERVED = ("parallel.algorithm=wassp", "parallel.phase2_share=0.5", "parallel.learning_rate_scaling=none")


@pytest.mark.mpi(ranks=[2, 3])
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("parallel.replica_topology=independent", "parallel.sync_every_steps=3"),
        ("parallel.replica_topology=independent", "parallel.sync_every_steps=3", "optimizer.velocity=bfloat16"),
        ("parallel.sync_every_steps=3", "parallel.overlap=true"),
        SERVED,
    ],
    ids=["shared", "independent", "bfloat16", "overlap", "wassp"],
)
def test_a_run_that_stops_again_and_again_is_bit_by_bit_the_uninterrupted_one(run, overrides):
    whole, metrics, n_stops = run("whole", 1e9, *overrides)
    assert n_stops == 0
    parts, same_metrics, n_stops = run("parts", 11, "runtime.stop_within=0.000001", *overrides)
    assert n_stops > 1
    assert parts == whole
    assert same_metrics == metrics


@pytest.mark.mpi(ranks=3)
def test_a_run_without_order_stops_and_goes_on_too(run):
    # Either worker is asked: nobody knows how many of the gradients come from which.
    _, metrics, n_stops = run("run", 50, "parallel.algorithm=wasap", "parallel.phase2_share=0.25", n_asked=2)
    assert n_stops > 1
    assert [line["epoch"] for line in metrics] == [1, 2, 3, 4]
    assert [line["phase"] for line in metrics] == [1, 1, 1, 2]
