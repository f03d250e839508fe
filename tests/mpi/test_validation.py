"""The validation part on several ranks: the samples and the scores that one rank has."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import ConfigError
from hpc_sparse.models.stored import StoredNetwork
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.collectives import barrier, gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import Share
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.folder import checkpoint_path
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import CsrFeatures, Samples
from hpc_sparse.storage.dataset.validation import ValidationPart
from hpc_sparse.training.growth_pool import gather_pool

ALONE = ParallelContext.serial(threads=1)
FRACTION, SEED, N_EPOCHS = 0.2, 3, 4
CONFIG = f"""
[data]
path = "data.h5"
validation_fraction = {FRACTION}
[network]
hidden = [24, 17]
epsilon = 4
dropout = 0.1
[training]
epochs = {N_EPOCHS}
batch_size = 16
seed = {SEED}
[optimizer]
learning_rate = 0.02
[checkpoint]
every_epochs = 1
keep_last = 9
[runtime]
threads = 1
oversubscribe = true
"""

Run = Callable[..., tuple[list[dict[str, Any]], Path]]


@pytest.fixture
def run(ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]) -> Run:
    """Train with some keys replaced; the metrics, and the folder of the run."""

    def write(**data: Any) -> None:
        (mpi_tmp_path / "run.toml").write_text(CONFIG)
        (mpi_tmp_path / "data.h5").unlink(missing_ok=True)
        write_small_data(mpi_tmp_path / "data.h5", **data)

    def run_once(*overrides: str, name: str, resume: str | None = None, **data: Any) -> tuple[Any, Path]:
        barrier(ctx)  # Other ranks may still read the data of the run before, which are written anew.
        on_root(ctx, lambda: write(**data))
        folder = mpi_tmp_path / name
        train_run(
            ctx, RunRequest(mpi_tmp_path / "run.toml", overrides, folder, resume, is_debug=True), SilentReporter()
        )
        barrier(ctx)
        return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()], folder

    return run_once


def contents(samples: Samples) -> list[tuple[Any, ...]]:
    """Every sample as plain values."""
    features = samples.features
    if isinstance(features, CsrFeatures):
        ends = features.indptr.tolist()
        rows = [
            (features.indices[start:stop].tobytes(), features.values[start:stop].tobytes())
            for start, stop in pairwise(ends)
        ]
    else:
        rows = [(row.tobytes(),) for row in features.values]
    return [(*row, label) for row, label in zip(rows, samples.labels.tolist(), strict=True)]


def scores_on_one_rank(folder: Path, epoch: int) -> tuple[float, float]:
    """Loss and accuracy of a checkpoint's network on the samples that one rank holds out."""
    stored = StoredNetwork.read(ALONE, checkpoint_path(folder / "checkpoints", epoch))
    dataset = load_dataset(ALONE, folder.parent / "data.h5", validation=ValidationPart(FRACTION, SEED))
    assert dataset.validation is not None
    return stored.evaluate(ALONE, stored.replica.network, replace(dataset, test=dataset.validation))


@pytest.mark.mpi(ranks=[3])
def test_any_ranks_and_back_end_hold_out_the_samples_that_one_rank_does(
    ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]
) -> None:
    part, n_workers = ValidationPart(FRACTION, SEED), ctx.size - 1
    for kind in ("dense", "sparse"):
        path = mpi_tmp_path / f"{kind}.h5"
        on_root(ctx, lambda path=path, kind=kind: write_small_data(path, kind))  # type: ignore[misc]
        one = load_dataset(ALONE, path, "serial", validation=part)
        assert one.validation is not None
        served = Share.none() if ctx.is_root else Share(ctx.rank - 1, n_workers)
        for backend in ("mpio", "serial"):
            for share, is_served in ((None, False), (served, True)):
                wanted = replace(part, is_whole_on_root=is_served)
                own = load_dataset(ctx, path, backend, train=share, validation=wanted)
                assert own.validation is not None
                assert (own.n_validation, own.n_train) == (one.n_validation, one.n_train)
                trained = [row for of_rank in gather_objects(ctx, contents(own.train)) for row in of_rank]
                assert trained == contents(one.train)
                held_out = gather_objects(ctx, contents(own.validation))
                if is_served:
                    assert held_out[0] == contents(one.validation)
                    held_out = held_out[1:]
                assert [row for of_rank in held_out for row in of_rank] == contents(one.validation)
                pools = (gather_pool(context, data.train, 50, SEED) for context, data in ((ctx, own), (ALONE, one)))
                ours, theirs = (contents(pool) for pool in pools)
                assert ours == theirs


@pytest.mark.mpi(ranks=[2, 3])
def test_scores_are_those_of_the_same_network_on_one_rank(ctx: ParallelContext, run: Run) -> None:
    for number, (options, kind) in enumerate(
        [
            (("parallel.replica_topology=shared", "runtime.hdf5=mpio", "evolution.strategy=rigl"), "dense"),
            (("parallel.replica_topology=independent", "runtime.hdf5=serial"), "sparse"),
        ]
    ):
        metrics, folder = run(*options, name=f"run-{number}", kind=kind)
        for line in metrics:
            loss, accuracy = scores_on_one_rank(folder, line["epoch"])
            assert line["validation_accuracy"] == accuracy
            assert line["validation_loss"] == pytest.approx(loss, rel=1e-6)
        assert metrics[-1]["validation_accuracy"] > 0.5
        assert len(set(gather_objects(ctx, json.dumps(metrics)))) == 1


@pytest.mark.mpi(ranks=[3])
def test_the_server_scores_all_held_out_samples_and_workers_alone_their_own(run: Run) -> None:
    for strategy, kind in (("wasap", "dense"), ("wassp", "sparse")):
        metrics, folder = run(f"parallel.algorithm={strategy}", "parallel.phase2_share=0.5", name=strategy, kind=kind)
        assert [line["phase"] for line in metrics] == [1, 1, 2, 2]
        assert all(0 <= line["validation_accuracy"] <= 1 for line in metrics)
        for epoch in (1, 2):
            # Root has the samples in the order in which one rank has them.
            assert (metrics[epoch - 1]["validation_loss"], metrics[epoch - 1]["validation_accuracy"]) == pytest.approx(
                scores_on_one_rank(folder, epoch), rel=1e-12
            )
        loss, accuracy = scores_on_one_rank(folder, N_EPOCHS)
        assert metrics[-1]["validation_accuracy"] == pytest.approx(accuracy)
        assert metrics[-1]["validation_loss"] == pytest.approx(loss, rel=1e-6)
        n_updates = (331 - 66) // 16 // (2 if strategy == "wassp" else 1)
        per_update = 2 if strategy == "wassp" else 1
        assert [sum(line["staleness_counts"]) for line in metrics[:2]] == [n_updates * per_update] * 2


@pytest.mark.mpi(ranks=[2])
def test_resumed_on_the_same_ranks_bit_by_bit_and_on_others_with_the_same_samples(
    ctx: ParallelContext, run: Run, mpi_tmp_path: Path
) -> None:
    whole, folder = run(name="whole")
    run("training.epochs=2", name="parts")
    parts, _ = run(name="parts", resume="auto")
    for name in ("train_loss", "validation_loss", "validation_accuracy", "test_loss"):
        assert [line[name] for line in whole] == [line[name] for line in parts]
    from_two = checkpoint_path(folder / "checkpoints", 2)
    if ctx.is_root:
        request = RunRequest(mpi_tmp_path / "run.toml", ("training.epochs=3",), mpi_tmp_path / "one", str(from_two))
        summary = train_run(ALONE, request, SilentReporter())
        loss, accuracy = scores_on_one_rank(mpi_tmp_path / "one", 3)
        assert (summary["validation_loss"], summary["validation_accuracy"]) == (loss, accuracy)
    barrier(ctx)


@pytest.mark.mpi(ranks=[3])
def test_too_few_samples_of_a_class_are_one_error_on_all_ranks(
    run: Run, same_error_everywhere: Callable[..., str], mpi_tmp_path: Path, ctx: ParallelContext
) -> None:
    message = same_error_everywhere(ConfigError, lambda: run("data.validation_fraction=0.001", name="run"))
    assert "data.validation_fraction = 0.001: holds out 0 of the " in message
    part = ValidationPart(0.001, SEED)
    same_error_everywhere(ConfigError, lambda: load_dataset(ctx, mpi_tmp_path / "data.h5", validation=part))


@pytest.mark.mpi(ranks=[4])
def test_ranks_without_samples_take_part(ctx: ParallelContext, run: Run) -> None:
    metrics, folder = run("data.validation_fraction=0.5", name="run", n_train=6, n_test=2, n_classes=2)
    assert np.isfinite([line["validation_loss"] for line in metrics]).all()
    assert folder.is_dir()
    if ctx.is_root:
        dataset = load_dataset(ALONE, folder.parent / "data.h5", validation=ValidationPart(0.5, SEED))
        assert dataset.n_train < ctx.size
