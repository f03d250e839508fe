"""Whole runs on several ranks through the Python interface, with the checks of the debug mode on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpc_sparse.monitor.metrics import CLOCK_FIELDS
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.collectives import barrier, gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest, make_plan
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.replica_states import (
    initial_replica,
)

CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [24, 17]
epsilon = 4
dropout = 0.1
[training]
epochs = 3
batch_size = 16
[optimizer]
learning_rate = 0.02
[parallel]
learning_rate_scaling = "sqrt"
[runtime]
threads = 1
oversubscribe = true
"""

Run = Callable[..., tuple[list[dict[str, Any]], Checkpoint]]


@pytest.fixture
def run(ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]) -> Run:
    """Train with some keys replaced; the metrics without times, and the last checkpoint as all ranks read it."""
    on_root(ctx, lambda: (mpi_tmp_path / "run.toml").write_text(CONFIG))
    n_runs = 0

    def run_once(
        *overrides: str, context: ParallelContext = ctx, **data: Any
    ) -> tuple[list[dict[str, Any]], Checkpoint]:
        nonlocal n_runs
        n_runs += 1
        on_root(context, lambda: write_data(**data))
        output = mpi_tmp_path / f"run-{n_runs}"
        request = RunRequest(mpi_tmp_path / "run.toml", overrides, output, is_debug=True)
        summary = train_run(context, request, SilentReporter())
        assert summary["n_ranks"] == context.size
        barrier(context)
        lines = (output / "metrics.jsonl").read_text().splitlines()
        metrics = [{key: value for key, value in json.loads(line).items() if key not in CLOCK_FIELDS} for line in lines]
        newest = newest_checkpoint(output / "checkpoints")
        assert newest is not None
        return metrics, read_checkpoint(context, newest)

    def write_data(**data: Any) -> None:
        (mpi_tmp_path / "data.h5").unlink(missing_ok=True)
        write_small_data(mpi_tmp_path / "data.h5", **data)

    return run_once


def state_bytes(checkpoint: Checkpoint) -> list[bytes]:
    return [array.tobytes() for layer in checkpoint.layers for array in layer.arrays().values()]


@pytest.mark.mpi(ranks=[1, 2, 3, 4])
def test_replicas_learn_and_agree_with_either_topology_and_any_sync_on_uneven_shards(
    ctx: ParallelContext, run: Run
) -> None:
    for number, (topology, every, kind) in enumerate(
        [
            ("shared", 1, "dense"),
            ("shared", 7, "sparse"),
            ("shared", '"epoch"', "dense"),
            ("independent", 1, "sparse"),
            ("independent", 7, "dense"),
            ("independent", '"epoch"', "sparse"),
        ]
    ):
        backend = ("mpio", "serial")[number % 2]
        metrics, checkpoint = run(
            f"parallel.replica_topology={topology}",
            f"parallel.sync_every_steps={every}",
            f"runtime.hdf5={backend}",
            kind=kind,
        )
        assert [line["epoch"] for line in metrics] == [1, 2, 3]
        assert metrics[-1]["train_loss"] < metrics[0]["train_loss"]
        assert metrics[-1]["test_accuracy"] > 0.5
        assert [line["connections_changed"] > 0 for line in metrics] == [False, True, True]
        assert len({line["n_connections"] for line in metrics}) == 1
        assert (metrics[0]["sync_bytes"] > 0) == (ctx.size > 1)
        assert len(set(gather_objects(ctx, json.dumps(metrics)))) == 1
        assert checkpoint.n_ranks == ctx.size


@pytest.mark.mpi(ranks=[3])
def test_every_replica_is_the_same_after_each_epoch(ctx: ParallelContext, run: Run, mpi_tmp_path: Path) -> None:
    run(n_train=50)
    for topology in ("shared", "independent"):
        overrides = (f"parallel.replica_topology={topology}", "parallel.sync_every_steps=2")
        plan = make_plan(RunRequest(mpi_tmp_path / "run.toml", overrides, mpi_tmp_path / "unused"))
        dataset = load_dataset(ctx, mpi_tmp_path / "data.h5")
        replica = initial_replica(plan.config, plan.info)
        trainer = LocalTrainer.start(TrainingJob(ctx, plan.config, dataset, replica, SilentReporter()))
        digests = set()
        for epoch in (1, 2, 3):
            trainer.train_epoch(epoch)
            of_ranks = set(gather_objects(ctx, network_digest(replica.network)))
            assert len(of_ranks) == 1
            digests |= of_ranks
        assert len(digests) == 3


@pytest.mark.mpi(ranks=[4])
def test_more_ranks_than_samples_train_as_if_the_idle_ranks_were_not_there(ctx: ParallelContext, run: Run) -> None:
    for topology, kind in (("shared", "dense"), ("independent", "sparse")):
        metrics, _ = run(f"parallel.replica_topology={topology}", kind=kind, n_train=3, n_test=2)
        numbers = [value for line in metrics for value in line.values() if not isinstance(value, list)]
        assert all(math.isfinite(value) for value in numbers)
        # The square root of the 3 replicas that train, not of the 4 ranks.
        assert metrics[0]["learning_rate"] == pytest.approx(0.02 * math.sqrt(3))
    metrics, _ = run(n_train=2, n_test=1, kind="sparse")
    assert metrics[-1]["test_accuracy"] in {0.0, 1.0}


@pytest.mark.mpi(ranks=[2, 3])
def test_a_run_repeats_bit_by_bit_whichever_back_end_reads_and_writes(run: Run) -> None:
    for topology in ("shared", "independent"):
        first, second = (
            run(f"parallel.replica_topology={topology}", "parallel.sync_every_steps=3", f"runtime.hdf5={backend}")
            for backend in ("mpio", "serial")
        )
        assert first[0] == second[0]
        assert state_bytes(first[1]) == state_bytes(second[1])


@pytest.mark.mpi(ranks=[1, 3])
def test_overlapped_syncs_learn_agree_after_the_epoch_and_repeat_bit_by_bit(ctx: ParallelContext, run: Run) -> None:
    overlapped, again = (run("parallel.sync_every_steps=2", "parallel.overlap=true") for _ in range(2))
    waited, _ = run("parallel.sync_every_steps=2")
    assert overlapped[0] == again[0]
    assert state_bytes(overlapped[1]) == state_bytes(again[1])
    assert overlapped[0][-1]["test_accuracy"] > 0.5
    assert (overlapped[0] == waited) == (ctx.size == 1)


@pytest.mark.mpi(ranks=[1])
def test_one_rank_under_mpirun_is_bit_by_bit_the_serial_run(ctx: ParallelContext, run: Run) -> None:
    for topology in ("shared", "independent"):
        for kind in ("dense", "sparse"):
            override = f"parallel.replica_topology={topology}"
            launched = run(override, kind=kind)
            serial = run(override, kind=kind, context=ParallelContext.serial(threads=1))
            assert launched[0] == serial[0]
            assert state_bytes(launched[1]) == state_bytes(serial[1])
