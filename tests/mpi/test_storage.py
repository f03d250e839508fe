"""Containers, data sets and checkpoints on several ranks, with both back ends."""

from __future__ import annotations

import dataclasses
import runpy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import DataError, FileFormatError, HpcSparseError, OutputError, RankError
from hpc_sparse.parallel import collectives
from hpc_sparse.parallel.collectives import barrier, gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import Share
from hpc_sparse.storage import hdf5
from hpc_sparse.storage.backends import choose_backend
from hpc_sparse.storage.checkpoint import (
    NO_REPLICA,
    Checkpoint,
    read_checkpoint,
    read_checkpoint_info,
    read_replicas,
    write_checkpoint,
)
from hpc_sparse.storage.container import DATASET_KIND, create_container, open_container
from hpc_sparse.storage.dataset import DenseFeatures, load_dataset, load_samples, write_dataset
from hpc_sparse.storage.samples import take_rows
from hpc_sparse.storage.word_sum import WORD_SUM, word_sum

BACKENDS = ("mpio", "serial")
FIRST, SECOND = (
    runpy.run_path(str(Path(__file__).parents[1] / "golden" / f"make_storage_v{version}.py")) for version in (1, 2)
)
GOLDEN = SECOND | FIRST
LAYER_ARRAYS = ("indptr", "indices", "weight", "bias", "weight_velocity", "bias_velocity")


@pytest.fixture
def ctx(comm: Any) -> Iterator[ParallelContext]:
    """All ranks of the test, which leave it together."""
    context = ParallelContext.from_comm(comm, threads=1)
    yield context
    barrier(context)


@pytest.fixture
def tiny_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every transfer takes several calls, and unequal numbers of them on different ranks."""
    monkeypatch.setattr(hdf5, "CHUNK_BYTES", 24)
    monkeypatch.setattr(collectives, "CHUNK_BYTES", 10)


def same_error_everywhere(ctx: ParallelContext, error: type[HpcSparseError], action: Callable[[], Any]) -> str:
    """Run ``action``, which must fail with the same error on all ranks; the error's message."""
    message = "no error"
    try:
        action()
    except error as caught:
        message = f"{type(caught).__name__}: {caught}"
    messages = gather_objects(ctx, message)
    assert len(set(messages)) == 1, messages
    assert message != "no error"
    return message


def names_in(ctx: ParallelContext, folder: Path) -> list[str]:
    """What is in ``folder`` once all ranks have come here, seen before any goes on."""
    barrier(ctx)
    return on_root(ctx, lambda: sorted(path.name for path in folder.iterdir()))


@contextmanager
def small_disk() -> Iterator[None]:
    """Writing beyond 64 KiB into one file fails on this rank, as on a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.mpi(ranks=[1, 2, 3, 4])
@pytest.mark.usefixtures("tiny_chunks")
def test_rows_of_all_ranks_arrive_also_from_ranks_without_rows(
    ctx: ParallelContext, mpi_tmp_path: Path, mpi_ranks: int
) -> None:
    assert ctx.size == mpi_ranks
    array = np.arange(65, dtype=np.float32).reshape(13, 5)
    bounds = [*[0, 0, 9, 9, 13][: ctx.size], 13]
    for backend in BACKENDS:
        path = mpi_tmp_path / f"{backend}.h5"
        with create_container(ctx, path, DATASET_KIND, backend) as writer:
            writer.create("a", array.shape, array.dtype)
            writer.write("a", bounds[ctx.rank], array[bounds[ctx.rank] : bounds[ctx.rank + 1]])
            writer.create("empty", (0, 3), np.int32)
            writer.write("empty", 0, np.zeros((0, 3), np.int32))
            writer.write_replicated("all", array)
        with h5py.File(path, "r") as file:
            np.testing.assert_array_equal(file["a"][:], array)
            np.testing.assert_array_equal(file["all"][:], array)
            assert int(file["a"].attrs[WORD_SUM]) == word_sum(array)
        for reading in BACKENDS:
            with open_container(ctx, path, DATASET_KIND, reading) as reader:
                np.testing.assert_array_equal(reader.read("a"), array)
                own = reader.read("a", bounds[ctx.rank], bounds[ctx.rank + 1])
                np.testing.assert_array_equal(own, array[bounds[ctx.rank] : bounds[ctx.rank + 1]])
                assert reader.read("empty").shape == (0, 3)
        assert names_in(ctx, mpi_tmp_path) == sorted(f"{name}.h5" for name in BACKENDS[: BACKENDS.index(backend) + 1])
    assert choose_backend(ctx, "auto") == ("mpio" if ctx.size > 1 else "serial")


@pytest.mark.mpi(ranks=[3, 4])
@pytest.mark.usefixtures("tiny_chunks")
def test_shards_make_up_the_whole_also_with_more_ranks_than_samples(ctx: ParallelContext, mpi_tmp_path: Path) -> None:
    for kind in ("dense", "sparse"):
        path = mpi_tmp_path / f"{kind}.h5"
        make = GOLDEN[f"{kind}_samples"]
        on_root(ctx, lambda: write_dataset(path, make(11), make(2), title=kind, class_names=("a", "b", "c")))  # noqa: B023
        for backend in BACKENDS:
            dataset = load_dataset(ctx, path, backend)
            for part in ("train", "test"):
                whole, own = load_samples(path, part), getattr(dataset, part)  # type: ignore[arg-type]
                shards = gather_objects(ctx, own)
                sizes = [shard.n_samples for shard in shards]
                assert max(sizes) - min(sizes) <= 1
                np.testing.assert_array_equal(np.concatenate([shard.labels for shard in shards]), whole.labels)
                for name in ("values",) if kind == "dense" else ("indices", "values"):
                    parts = [getattr(shard.features, name) for shard in shards]
                    np.testing.assert_array_equal(np.concatenate(parts), getattr(whole.features, name))
                if kind == "sparse":
                    assert own.features.indptr[0] == 0
                    lengths = np.concatenate([np.diff(shard.features.indptr) for shard in shards])
                    np.testing.assert_array_equal(lengths, np.diff(whole.features.indptr))


@pytest.mark.mpi(ranks=[2, 3])
@pytest.mark.usefixtures("tiny_chunks")
def test_a_checkpoint_comes_back_bit_for_bit_on_every_rank(ctx: ParallelContext, mpi_tmp_path: Path) -> None:
    made = GOLDEN["checkpoint"]()
    for writing in BACKENDS:
        path = mpi_tmp_path / f"{writing}.h5"
        write_checkpoint(ctx, path, made, writing)
        for reading in BACKENDS:
            found = read_checkpoint(ctx, path, reading)
            assert (found.config_text, found.metrics, found.history_best) == (
                made.config_text,
                made.metrics,
                made.history_best,
            )
            np.testing.assert_array_equal(found.mean, made.mean)
            for layer, expected in zip(found.layers, made.layers, strict=True):
                for name in LAYER_ARRAYS:
                    assert getattr(layer, name).tobytes() == getattr(expected, name).tobytes()
        if ctx.is_root:
            alone = read_checkpoint(ParallelContext.serial(threads=1), path)
            np.testing.assert_array_equal(alone.layers[1].weight, made.layers[1].weight)


def own_checkpoint(number: int, n_ranks: int) -> Checkpoint:
    """A state with a replica of its own size, from the golden ones, or with none; rows of other ranks are unknown."""
    made = GOLDEN["replica_checkpoint"](NO_REPLICA if number == NO_REPLICA else number % 2)
    scaled = tuple(dataclasses.replace(layer, weight=layer.weight + number) for layer in made.layers)
    progress = np.full((n_ranks, 2), np.nan)
    return dataclasses.replace(made, n_ranks=n_ranks, replica=number, layers=scaled, progress=progress)


def assert_same_state(found: Checkpoint, made: Checkpoint) -> None:
    """Layers, ids and numbers equal, arrays bit for bit; rows of progress are looked at elsewhere."""
    for name in ("config_text", "epoch", "step", "step_in_epoch", "n_ranks", "replica", "metrics"):
        assert getattr(found, name) == getattr(made, name), name
    assert (found.history_best, found.target_connections) == (made.history_best, made.target_connections)
    np.testing.assert_array_equal(found.mean, made.mean)
    for ids, expected_ids in zip(found.neuron_ids, made.neuron_ids, strict=True):
        np.testing.assert_array_equal(ids, expected_ids)
    for layer, expected in zip(found.layers, made.layers, strict=True):
        assert (layer.shape, layer.activation) == (expected.shape, expected.activation)
        for name in LAYER_ARRAYS:
            assert getattr(layer, name).dtype == getattr(expected, name).dtype
            assert getattr(layer, name).tobytes() == getattr(expected, name).tobytes()


@pytest.mark.mpi(ranks=[2, 3])
@pytest.mark.usefixtures("tiny_chunks")
def test_a_reduced_network_in_an_unfinished_epoch_comes_back_on_every_rank(
    ctx: ParallelContext, mpi_tmp_path: Path
) -> None:
    made = GOLDEN["reduced_checkpoint"]()
    for writing in BACKENDS:
        write_checkpoint(ctx, mpi_tmp_path / f"{writing}.h5", made, writing)
        for reading in BACKENDS:
            found = read_checkpoint(ctx, mpi_tmp_path / f"{writing}.h5", reading)
            assert_same_state(found, made)
            np.testing.assert_array_equal(found.progress, made.progress)


def check_own_replicas(ctx: ParallelContext, folder: Path, own: int, n_replicas: int) -> None:
    """Write and read with both back ends on ranks of which this one has replica ``own``."""
    made = own_checkpoint(own, ctx.size)
    made.progress[ctx.rank] = ctx.rank, 0.1 * ctx.rank
    progress = np.array([[rank, 0.1 * rank] for rank in range(ctx.size)])
    for writing in BACKENDS:
        path = folder / f"{writing}.h5"
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
    names_in(ctx, folder)


@pytest.mark.mpi(ranks=[1, 2, 3, 4])
@pytest.mark.usefixtures("tiny_chunks")
def test_every_rank_writes_and_reads_its_own_replica(ctx: ParallelContext, mpi_tmp_path: Path) -> None:
    for numbers in (list(range(ctx.size))[::-1], [NO_REPLICA, *range(ctx.size - 1)]):
        if numbers != [NO_REPLICA]:
            check_own_replicas(ctx, mpi_tmp_path, numbers[ctx.rank], max(numbers) + 1)


@pytest.mark.mpi(ranks=[2, 3])
def test_replicas_are_read_on_more_and_on_fewer_ranks_than_wrote_them(ctx: ParallelContext) -> None:
    for backend in BACKENDS:
        for asked in ([1, 0, NO_REPLICA], [0, 0, 0], [NO_REPLICA, 1, 1]):
            found = read_checkpoint(ctx, GOLDEN["REPLICAS"], backend, replica=asked[ctx.rank])
            assert_same_state(found, GOLDEN["replica_checkpoint"](asked[ctx.rank]))
        for asked, reason in (
            ([0, 2, 1], "replica 2 asked for: expected one of the 2 that it holds"),
            ([None] * 3, "holds 2 replicas"),
            ([0, None, 1], "holds 2 replicas"),
        ):
            message = same_error_everywhere(
                ctx,
                FileFormatError,
                lambda: read_checkpoint(ctx, GOLDEN["REPLICAS"], backend, replica=asked[ctx.rank]),  # noqa: B023
            )
            assert reason in message


@pytest.mark.mpi(ranks=[3])
def test_a_damaged_replica_is_the_same_error_on_every_rank(ctx: ParallelContext, mpi_tmp_path: Path) -> None:
    def prepare() -> None:
        for name in ("bit", "row"):
            (mpi_tmp_path / f"{name}.h5").write_bytes(GOLDEN["REPLICAS"].read_bytes())
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
                ctx,
                FileFormatError,
                lambda: read_checkpoint(ctx, mpi_tmp_path / f"{name}.h5", backend, replica=asked[ctx.rank]),  # noqa: B023
            )
            assert reason in message


@pytest.mark.mpi(ranks=[2, 3])
def test_ranks_that_mean_different_checkpoints_write_none(ctx: ParallelContext, mpi_tmp_path: Path) -> None:
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
            assert names_in(ctx, mpi_tmp_path) == []


@pytest.mark.mpi(ranks=[3])
@pytest.mark.usefixtures("tiny_chunks")
def test_a_serving_rank_loads_the_whole_test_part_and_the_workers_share_both(
    ctx: ParallelContext, mpi_tmp_path: Path
) -> None:
    train = Share.none() if ctx.is_root else Share(ctx.rank - 1, ctx.size - 1)
    test = Share.all() if ctx.is_root else train
    for kind in ("dense", "sparse"):
        path, damaged = mpi_tmp_path / f"{kind}.h5", mpi_tmp_path / f"{kind}-damaged.h5"
        make = GOLDEN[f"{kind}_samples"]

        def prepare() -> None:
            write_dataset(path, make(11), make(5), title=kind, class_names=("a", "b", "c"))  # noqa: B023
            damaged.write_bytes(path.read_bytes())  # noqa: B023
            with h5py.File(damaged, "a") as file:  # noqa: B023
                file["test/features" if kind == "dense" else "test/values"][0] += 1  # noqa: B023

        on_root(ctx, prepare)
        for backend in BACKENDS:
            dataset = load_dataset(ctx, path, backend, train=train, test=test)
            assert [shard.n_samples for shard in gather_objects(ctx, dataset.train)] == [0, 6, 5]
            assert [shard.n_samples for shard in gather_objects(ctx, dataset.test)] == [5, 3, 2]
            for own, part, share in ((dataset.train, "train", train), (dataset.test, "test", test)):
                whole = load_samples(path, part)  # type: ignore[arg-type]
                start, stop = share.range(whole.n_samples)
                rows = take_rows(whole.features, np.arange(start, stop))
                np.testing.assert_array_equal(own.labels, whole.labels[start:stop])
                for name in ("values",) if kind == "dense" else ("indptr", "indices", "values"):
                    np.testing.assert_array_equal(getattr(own.features, name), getattr(rows, name))
            message = same_error_everywhere(
                ctx,
                FileFormatError,
                lambda: load_dataset(ctx, damaged, backend, train=train, test=test),  # noqa: B023
            )
            assert "damaged: its content does not add up" in message


@pytest.mark.mpi(ranks=[3])
def test_a_bad_file_is_the_same_error_on_every_rank(ctx: ParallelContext, mpi_tmp_path: Path) -> None:
    def prepare() -> None:
        whole = GOLDEN["DENSE"].read_bytes()
        (mpi_tmp_path / "cut.h5").write_bytes(whole[:-1])
        (mpi_tmp_path / "text.h5").write_text("text")
        (mpi_tmp_path / "bit.h5").write_bytes(whole)
        (mpi_tmp_path / "label.h5").write_bytes(whole)
        with h5py.File(mpi_tmp_path / "bit.h5", "a") as file:
            file["train/features"][10, 3] ^= 4
        with h5py.File(mpi_tmp_path / "label.h5", "a") as file:
            file["train/labels"][10] = 3
            file["train/labels"].attrs[WORD_SUM] = word_sum(file["train/labels"][:])

    on_root(ctx, prepare)
    for backend in BACKENDS:
        for path, error, reason in (
            (mpi_tmp_path / "nowhere.h5", DataError, "no such file"),
            (mpi_tmp_path / "cut.h5", FileFormatError, "truncated"),
            (mpi_tmp_path / "text.h5", FileFormatError, "is not an HDF5 file"),
            (mpi_tmp_path / "bit.h5", FileFormatError, "train/features: damaged"),
            (mpi_tmp_path / "label.h5", DataError, "train/labels[10] = 3: must be >= 0 and < 3"),
            (GOLDEN["CHECKPOINT"], FileFormatError, 'expected "hpc_sparse.dataset"'),
        ):
            message = same_error_everywhere(ctx, error, lambda: load_dataset(ctx, path, backend))  # noqa: B023
            assert reason in message
            assert path.name in message


@pytest.mark.mpi(ranks=[3])
def test_an_unwritable_place_is_the_same_error_on_every_rank(ctx: ParallelContext, mpi_tmp_path: Path) -> None:
    on_root(ctx, (mpi_tmp_path / "file").touch)
    for backend in BACKENDS:
        for path in (mpi_tmp_path / "file" / "c.h5", mpi_tmp_path / "missing" / "c.h5", Path("/proc/c.h5")):
            message = same_error_everywhere(
                ctx,
                OutputError,
                lambda: write_checkpoint(ctx, path, GOLDEN["checkpoint"](), backend),  # noqa: B023
            )
            assert f"{path}: cannot be written" in message


@pytest.mark.mpi(ranks=[2])
def test_a_full_disk_is_the_same_error_on_every_rank_and_keeps_the_old_file(
    ctx: ParallelContext, mpi_tmp_path: Path
) -> None:
    values = DenseFeatures(np.zeros((1000, 1000), np.uint8)).values

    def write(backend: str) -> None:
        with create_container(ctx, mpi_tmp_path / f"{backend}.h5", DATASET_KIND, backend) as writer:
            writer.create("a", (1000 * ctx.size, 1000), np.uint8)
            writer.write("a", 1000 * ctx.rank, values)

    for backend in BACKENDS:
        write(backend)
        before = (mpi_tmp_path / f"{backend}.h5").stat().st_mtime_ns
        with small_disk():
            message = same_error_everywhere(ctx, OutputError, lambda: write(backend))  # noqa: B023
        assert f"{backend}.h5: cannot be written" in message
        assert (mpi_tmp_path / f"{backend}.h5").stat().st_mtime_ns == before
        assert not [name for name in names_in(ctx, mpi_tmp_path) if name.startswith(".")]
        write(backend)


@pytest.mark.mpi(ranks=[2])
def test_a_rank_that_fails_alone_waits_for_nobody(ctx: ParallelContext, mpi_tmp_path: Path) -> None:
    def fail_on_the_last_rank(backend: str) -> None:
        with create_container(ctx, mpi_tmp_path / "a.h5", DATASET_KIND, backend) as writer:
            writer.create("a", (1,), np.int32)
            if ctx.rank == ctx.size - 1:
                raise ZeroDivisionError
            # The others would wait in the next collective call until the job is aborted.
            raise TimeoutError

    for backend in BACKENDS:
        with pytest.raises((ZeroDivisionError, TimeoutError)):
            fail_on_the_last_rank(backend)
        assert names_in(ctx, mpi_tmp_path) == []


@pytest.mark.mpi(ranks=[2, 3])
def test_rows_that_do_not_fit_on_one_rank_are_an_error_on_every_rank(ctx: ParallelContext, mpi_tmp_path: Path) -> None:
    def write(backend: str) -> None:
        with create_container(ctx, mpi_tmp_path / "a.h5", DATASET_KIND, backend) as writer:
            writer.create("a", (9,), np.int32)
            writer.write("a", ctx.rank, np.zeros(1, np.int64 if ctx.rank == 1 else np.int32))

    for backend in BACKENDS:
        message = same_error_everywhere(ctx, RankError, lambda: write(backend))  # noqa: B023
        assert f"rank 1 of {ctx.size}: AssertionError: a: int64, created as int32" in message
        assert names_in(ctx, mpi_tmp_path) == []


@pytest.mark.mpi(ranks=[2, 3])
def test_a_look_up_that_fails_on_one_rank_is_an_error_on_every_rank(
    ctx: ParallelContext, mpi_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(array: Any) -> int:
        raise ValueError("broken")

    for backend in BACKENDS:
        path = mpi_tmp_path / f"{backend}.h5"
        with create_container(ctx, path, DATASET_KIND, backend) as writer:
            writer.write_replicated("a", np.arange(5))
        with monkeypatch.context() as patch, open_container(ctx, path, DATASET_KIND, backend) as reader:
            if ctx.rank == 1:
                patch.setattr(hdf5, "rows_per_chunk", fail)
            message = same_error_everywhere(ctx, FileFormatError, lambda: reader.read("a"))
        assert "cannot read a: missing or damaged (broken)" in message
