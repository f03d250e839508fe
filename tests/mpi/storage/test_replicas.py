"""Checkpoints in which ranks have networks of their own, with both back ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.collectives import on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, read_replicas, write_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.container.word_sum import WORD_SUM, word_sum

BACKENDS = ("mpio", "serial")


def with_weight(layer: LayerState, number: int) -> LayerState:
    """The layer with weights that tell its replica."""
    return dataclasses.replace(layer, parameters={**layer.parameters, "weight": layer.parameters["weight"] + number})


@pytest.fixture
def own_checkpoint(golden: dict[str, Any]) -> Callable[[int, int], Checkpoint]:
    """A state with a replica of its own size, from the golden ones, or with none; rows of other ranks are unknown."""

    def make(number: int, n_ranks: int) -> Checkpoint:
        made = golden["replica_checkpoint"](NO_REPLICA if number == NO_REPLICA else number % 2)
        scaled = tuple(with_weight(layer, number) for layer in made.layers)
        progress = np.full((n_ranks, 2), np.nan)
        return dataclasses.replace(made, n_ranks=n_ranks, replica=number, layers=scaled, progress=progress)

    return make


@pytest.fixture
def check_own_replicas(
    ctx: ParallelContext,
    mpi_tmp_path: Path,
    names_in: Callable[[Path], list[str]],
    assert_same_state: Callable[..., None],
    own_checkpoint: Callable[[int, int], Checkpoint],
) -> Callable[[int, int], None]:
    """Write and read with both back ends on ranks of which this one has replica ``own``."""

    def check(own: int, n_replicas: int) -> None:
        made = own_checkpoint(own, ctx.size)
        made.progress[ctx.rank] = ctx.rank, 0.1 * ctx.rank
        progress = np.array([[rank, 0.1 * rank] for rank in range(ctx.size)])
        for writing in BACKENDS:
            path = mpi_tmp_path / f"{writing}.h5"
            write_checkpoint(ctx, path, made, writing)
            for reading in BACKENDS:
                found = read_checkpoint(ctx, path, reading, replica=own)
                assert_same_state(found, made)
                np.testing.assert_array_equal(found.progress, progress)
                last = read_checkpoint(ctx, path, reading, replica=n_replicas - 1 if ctx.is_root else NO_REPLICA)
                expected = own_checkpoint(n_replicas - 1 if ctx.is_root else NO_REPLICA, ctx.size)
                assert_same_state(last, expected)
            together = read_replicas(path)
            assert [checkpoint.replica for checkpoint in together] == list(range(n_replicas))
            for number, checkpoint in enumerate(together):
                assert_same_state(checkpoint, own_checkpoint(number, ctx.size))
                np.testing.assert_array_equal(checkpoint.progress, progress)
            assert read_checkpoint_info(path).n_replicas == n_replicas
        names_in(mpi_tmp_path)

    return check


@pytest.mark.mpi(ranks=[1, 2, 3, 4])
@pytest.mark.usefixtures("tiny_chunks")
def test_every_rank_writes_and_reads_its_own_replica(
    ctx: ParallelContext, check_own_replicas: Callable[[int, int], None]
) -> None:
    for numbers in (list(range(ctx.size))[::-1], [NO_REPLICA, *range(ctx.size - 1)]):
        if numbers != [NO_REPLICA]:
            check_own_replicas(numbers[ctx.rank], max(numbers) + 1)


@pytest.mark.mpi(ranks=[2, 3])
def test_replicas_are_read_on_more_and_on_fewer_ranks_than_wrote_them(
    ctx: ParallelContext,
    same_error_everywhere: Callable[..., str],
    assert_same_state: Callable[..., None],
    golden: dict[str, Any],
) -> None:
    for backend in BACKENDS:
        for asked in ([1, 0, NO_REPLICA], [0, 0, 0], [NO_REPLICA, 1, 1]):
            found = read_checkpoint(ctx, golden["REPLICAS"], backend, replica=asked[ctx.rank])
            assert_same_state(found, golden["replica_checkpoint"](asked[ctx.rank]))
        for asked, reason in (
            ([0, 2, 1], "replica 2 asked for: expected one of the 2 that it holds"),
            ([None] * 3, "holds 2 replicas"),
            ([0, None, 1], "holds 2 replicas"),
        ):
            message = same_error_everywhere(
                FileFormatError,
                lambda: read_checkpoint(ctx, golden["REPLICAS"], backend, replica=asked[ctx.rank]),  # noqa: B023
            )
            assert reason in message


@pytest.mark.mpi(ranks=[3])
def test_a_damaged_replica_is_the_same_error_on_every_rank(
    ctx: ParallelContext, mpi_tmp_path: Path, same_error_everywhere: Callable[..., str], golden: dict[str, Any]
) -> None:
    def prepare() -> None:
        for name in ("bit", "row"):
            (mpi_tmp_path / f"{name}.h5").write_bytes(golden["REPLICAS"].read_bytes())
        with h5py.File(mpi_tmp_path / "bit.h5", "a") as file:
            file["replica_layers/0001/weight"][0] += 1
        with h5py.File(mpi_tmp_path / "row.h5", "a") as file:
            array = file["replica_layers/0000/indices"]
            array[5] = 4
            array.attrs[WORD_SUM] = word_sum(array[:])

    on_root(ctx, prepare)
    for backend in BACKENDS:
        for name, asked, reason in (
            ("bit", [NO_REPLICA, 0, 1], "replica_layers/0001/weight: damaged"),
            ("bit", [1, 1, NO_REPLICA], "replica_layers/0001/weight: damaged"),
            ("row", [NO_REPLICA, 0, 1], "replica 1: replica_layers/0000: indices: 4 in row 0"),
        ):
            message = same_error_everywhere(
                FileFormatError,
                lambda: read_checkpoint(ctx, mpi_tmp_path / f"{name}.h5", backend, replica=asked[ctx.rank]),  # noqa: B023
            )
            assert reason in message


@pytest.mark.mpi(ranks=[2, 3])
def test_ranks_that_mean_different_checkpoints_write_none(
    ctx: ParallelContext,
    mpi_tmp_path: Path,
    names_in: Callable[[Path], list[str]],
    own_checkpoint: Callable[[int, int], Checkpoint],
) -> None:
    made = own_checkpoint(ctx.rank, ctx.size)
    for changes in (
        {"replica": 0},
        {"replica": None if ctx.is_root else 0},
        {"step": 5 + (ctx.rank == 1)},
        {"progress": None if ctx.is_root else made.progress},
        {"neuron_ids": made.neuron_ids if ctx.is_root else ()},
        {"layers": tuple(dataclasses.replace(layer, activation=str(ctx.rank)) for layer in made.layers)},
    ):
        for backend in BACKENDS:
            with pytest.raises(AssertionError):
                write_checkpoint(ctx, mpi_tmp_path / "c.h5", dataclasses.replace(made, **changes), backend)
            assert names_in(mpi_tmp_path) == []
