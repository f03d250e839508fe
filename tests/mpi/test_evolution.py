"""Strategies of evolution on several ranks: the same decision everywhere, whole runs, and runs that stop and go on."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.config import load_config
from hpc_sparse.errors import ConfigError, PlannedStop
from hpc_sparse.monitor.metrics import CLOCK_FIELDS
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.monitor.stopping import StopRequest
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.collectives import barrier, gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import Share
from hpc_sparse.runs.first_topology import choose_first_topology
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import CsrFeatures
from hpc_sparse.training.evolution_step import Evolution, needs_growth_samples
from hpc_sparse.training.growth_pool import GrowthSource, gather_pool
from hpc_sparse.training.job import TrainingJob
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
[evolution]
drop_schedule = "constant"
growth_samples = 40
growth_pool = 100
[parallel]
learning_rate_scaling = "sqrt"
[runtime]
threads = 1
stop_within = 0.000001
oversubscribe = true
"""
# What a stop may cost: time, and bytes, as topologies are sent anew.
NOT_COMPARED = CLOCK_FIELDS | {"sync_bytes"}
STRATEGIES = (
    ("rigl",),
    ("srigl", "network.initial_topology=snip"),
    (
        *("gse", "evolution.gse.candidates=graest", "evolution.gse.scope=global"),
        *("training.optimizer=adamw", "optimizer.learning_rate=0.004", "optimizer.weight_decay=0.1"),
    ),
    ("snfs",),
    ("deep_r", "evolution.deep_r.shrinkage=0.01"),
    ("top_kast", "evolution.top_kast.acting_share=0.5", "network.initial_topology=grasp"),
    # Links that begin with 0 would be the next to go and to come back, at once where nothing is trained in between.
    ("cht", "network.initial_topology=csti", "evolution.grown_weights=initial", "evolution.cht.growth=soft"),
)
PARALLEL = (
    ("parallel.replica_topology=shared", "evolution.every_steps=5"),
    ("parallel.replica_topology=independent", "evolution.every_steps=4", "evolution.drop_schedule=cosine"),
    ("parallel.algorithm=wassp", "parallel.phase2_share=0.3", "evolution.every_steps=7", "evolution.begin_epoch=1"),
)


class AskedAfter(StopRequest):
    """Is asked to stop when it has been looked at so many times."""

    def __init__(self, n_looks: float) -> None:
        super().__init__()
        self._n_left = n_looks

    @property
    def reason(self) -> int:
        self._n_left -= 1
        return signal.SIGUSR1 if self._n_left < 0 else 0


@pytest.fixture
def folder(ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]) -> Path:
    """A folder with ``run.toml`` and data."""

    def write() -> None:
        (mpi_tmp_path / "run.toml").write_text(CONFIG)
        write_small_data(mpi_tmp_path / "data.h5", n_train=200)
        write_small_data(mpi_tmp_path / "sparse.h5", kind="sparse")

    on_root(ctx, write)
    return mpi_tmp_path


@pytest.fixture
def run(ctx: ParallelContext, folder: Path) -> Callable[..., Any]:
    """Train to the end, with a stop when the last rank has looked so often: state and metrics of the end."""

    def run_once(output: str, n_looks: float, *overrides: str) -> tuple[list[bytes], list[dict[str, Any]]]:
        request = RunRequest(folder / "run.toml", overrides, folder / output, resume="auto", is_debug=True)
        stops = [AskedAfter(n_looks)] if ctx.rank == ctx.size - 1 and n_looks < math.inf else []
        is_stopped = False
        try:
            train_run(ctx, request, SilentReporter(), *stops)
        except PlannedStop:
            is_stopped = True
            train_run(ctx, request, SilentReporter())
        assert is_stopped == (n_looks < math.inf)
        barrier(ctx)
        newest = newest_checkpoint(folder / output / "checkpoints")
        assert newest is not None
        layers = read_checkpoint(ctx, newest).layers
        lines = (folder / output / "metrics.jsonl").read_text().splitlines()
        metrics = [{key: value for key, value in json.loads(line).items() if key not in NOT_COMPARED} for line in lines]
        return [array.tobytes() for layer in layers for array in layer.arrays().values()], metrics

    return run_once


@pytest.mark.mpi(ranks=[1, 2, 3])
def test_every_rank_has_the_pool_that_one_rank_alone_would_have(ctx: ParallelContext, folder: Path) -> None:
    for name in ("data.h5", "sparse.h5"):
        whole = load_dataset(ParallelContext.serial(threads=1), folder / name, "serial").train
        expected = gather_pool(ParallelContext.serial(threads=1), whole, 70, seed=3)
        served = Share.none() if ctx.is_root and ctx.size > 1 else Share(max(0, ctx.rank - 1), max(1, ctx.size - 1))
        for share in (None, served):
            shard = load_dataset(ctx, folder / name, "serial", train=share).train
            pool = gather_pool(ctx, shard, 70, seed=3)
            np.testing.assert_array_equal(pool.labels, expected.labels)
            features, same = pool.features, expected.features
            arrays = ("indptr", "indices", "values") if isinstance(features, CsrFeatures) else ("values",)
            for array in arrays:
                np.testing.assert_array_equal(getattr(features, array), getattr(same, array))


@pytest.mark.mpi(ranks=[1, 2, 3])
def test_ranks_with_shards_decide_as_one_rank_with_all_samples(ctx: ParallelContext, folder: Path) -> None:
    for strategy, *options in STRATEGIES:
        config = load_config(folder / "run.toml", [f"evolution.strategy={strategy}", *options])
        digests = []
        for context in (ctx, ParallelContext.serial(threads=1)):
            dataset = load_dataset(context, folder / "data.h5", "serial")
            replica = initial_replica(config, dataset.info)
            job = TrainingJob(context, config, dataset, replica, SilentReporter())
            growth = GrowthSource.start(job, CrossEntropy()) if needs_growth_samples(config) else None
            evolution = Evolution(config, growth=growth)
            for epoch in (2, 3):
                step = evolution.step(replica, epoch)
                assert step is not None
                assert step.n_grown > 0
            digests.append(network_digest(replica.network))
        assert len(set(digests)) == 1
        assert len(set(gather_objects(ctx, digests[0]))) == 1


@pytest.mark.mpi(ranks=[2, 3])
def test_a_first_topology_from_the_data_is_that_of_one_rank_with_all_samples(
    ctx: ParallelContext, folder: Path
) -> None:
    for topology in ("snip", "grasp", "csti"):
        config = load_config(folder / "run.toml", [f"network.initial_topology={topology}"])
        digests = []
        for context in (ctx, ParallelContext.serial(threads=1)):
            dataset = load_dataset(context, folder / "data.h5", "serial")
            replica = initial_replica(config, dataset.info)
            at_random = network_digest(replica.network)
            choose_first_topology(TrainingJob(context, config, dataset, replica, SilentReporter()))
            digests.append(network_digest(replica.network))
        assert digests[0] == digests[1] != at_random, topology
        assert len(set(gather_objects(ctx, digests[0]))) == 1


@pytest.mark.mpi(ranks=[2])
@pytest.mark.parametrize("parallel", PARALLEL, ids=lambda parallel: parallel[0].partition("=")[2])
def test_every_strategy_trains_and_resumes_bit_by_bit(run: Callable[..., Any], parallel: Any) -> None:
    for name, *options in STRATEGIES:
        overrides = (f"evolution.strategy={name}", *options, *parallel)
        whole, metrics = run(f"{name}-whole", math.inf, *overrides)
        assert metrics[-1]["train_loss"] < metrics[0]["train_loss"], name
        assert metrics[-2]["connections_changed"] > 0, name
        assert len({line["n_connections"] for line in metrics}) == 1, name
        parts, same_metrics = run(f"{name}-parts", 10, *overrides)
        assert same_metrics == metrics, name
        assert parts == whole, name


@pytest.mark.mpi(ranks=[3])
def test_networks_shrink_alike_on_all_ranks_and_resume_bit_by_bit(run: Callable[..., Any]) -> None:
    for number, parallel in enumerate(
        [
            ("parallel.replica_topology=shared",),
            ("parallel.replica_topology=independent",),
            # Before the workers are left alone.
            ("parallel.algorithm=wassp", "parallel.phase2_share=0.4", "evolution.end_epoch=3"),
        ]
    ):
        shrinking = ("evolution.final_density=0.1", "evolution.every_steps=3", "evolution.end_epoch=2")
        whole, metrics = run(f"whole-{number}", math.inf, *shrinking, *parallel)
        sizes = [line["n_connections"] for line in metrics]
        assert sizes[0] > sizes[1] >= sizes[2]
        # All layers but the last, which keeps what it has.
        assert sizes[-1] - 17 * 3 <= 0.1 * (30 * 24 + 24 * 17) + 1
        parts, same_metrics = run(f"parts-{number}", 7, *shrinking, *parallel)
        assert same_metrics == metrics
        assert parts == whole


@pytest.mark.mpi(ranks=[2])
def test_a_density_that_cannot_be_shrunk_to_is_refused_by_all_ranks(ctx: ParallelContext, run: Any) -> None:
    message = ""
    try:
        run("refused", math.inf, "evolution.final_density=0.99")
    except ConfigError as error:
        message = str(error)
    assert set(gather_objects(ctx, message)) == {message}
    assert "final_density = 0.99: must be below" in message
