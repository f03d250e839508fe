"""Containers on several ranks, with both back ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError, OutputError, RankError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container import hdf5
from hpc_sparse.storage.container.backends import choose_backend
from hpc_sparse.storage.container.file import DATASET_KIND, create_container, open_container
from hpc_sparse.storage.container.word_sum import WORD_SUM, word_sum
from hpc_sparse.storage.dataset.samples import DenseFeatures

BACKENDS = ("mpio", "serial")


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
    ctx: ParallelContext, mpi_tmp_path: Path, mpi_ranks: int, names_in: Callable[[Path], list[str]]
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
        assert names_in(mpi_tmp_path) == sorted(f"{name}.h5" for name in BACKENDS[: BACKENDS.index(backend) + 1])
    assert choose_backend(ctx, "auto") == ("mpio" if ctx.size > 1 else "serial")


@pytest.mark.mpi(ranks=[2])
def test_a_full_disk_is_the_same_error_on_every_rank_and_keeps_the_old_file(
    ctx: ParallelContext,
    mpi_tmp_path: Path,
    names_in: Callable[[Path], list[str]],
    same_error_everywhere: Callable[..., str],
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
            message = same_error_everywhere(OutputError, lambda: write(backend))  # noqa: B023
        assert f"{backend}.h5: cannot be written" in message
        assert (mpi_tmp_path / f"{backend}.h5").stat().st_mtime_ns == before
        assert not [name for name in names_in(mpi_tmp_path) if name.startswith(".")]
        write(backend)


@pytest.mark.mpi(ranks=[2])
def test_a_rank_that_fails_alone_waits_for_nobody(
    ctx: ParallelContext, mpi_tmp_path: Path, names_in: Callable[[Path], list[str]]
) -> None:
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
        assert names_in(mpi_tmp_path) == []


@pytest.mark.mpi(ranks=[2, 3])
def test_rows_that_do_not_fit_on_one_rank_are_an_error_on_every_rank(
    ctx: ParallelContext,
    mpi_tmp_path: Path,
    names_in: Callable[[Path], list[str]],
    same_error_everywhere: Callable[..., str],
) -> None:
    def write(backend: str) -> None:
        with create_container(ctx, mpi_tmp_path / "a.h5", DATASET_KIND, backend) as writer:
            writer.create("a", (9,), np.int32)
            writer.write("a", ctx.rank, np.zeros(1, np.int64 if ctx.rank == 1 else np.int32))

    for backend in BACKENDS:
        message = same_error_everywhere(RankError, lambda: write(backend))  # noqa: B023
        assert f"rank 1 of {ctx.size}: AssertionError: a: int64, created as int32" in message
        assert names_in(mpi_tmp_path) == []


@pytest.mark.mpi(ranks=[2, 3])
def test_a_look_up_that_fails_on_one_rank_is_an_error_on_every_rank(
    ctx: ParallelContext, mpi_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_error_everywhere: Callable[..., str]
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
            message = same_error_everywhere(FileFormatError, lambda: reader.read("a"))
        assert "cannot read a: missing or damaged (broken)" in message
