"""Data sets on several ranks, with both back ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import DataError, FileFormatError
from hpc_sparse.parallel.collectives import gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import Share
from hpc_sparse.storage.container.word_sum import WORD_SUM, word_sum
from hpc_sparse.storage.dataset.file import load_dataset, load_samples
from hpc_sparse.storage.dataset.samples import take_rows
from hpc_sparse.storage.dataset.writer import write_dataset

BACKENDS = ("mpio", "serial")


@pytest.mark.mpi(ranks=[3, 4])
@pytest.mark.usefixtures("tiny_chunks")
def test_shards_make_up_the_whole_also_with_more_ranks_than_samples(
    ctx: ParallelContext, mpi_tmp_path: Path, golden: dict[str, Any]
) -> None:
    for kind in ("dense", "sparse"):
        path = mpi_tmp_path / f"{kind}.h5"
        make = golden[f"{kind}_samples"]
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


@pytest.mark.mpi(ranks=[3])
@pytest.mark.usefixtures("tiny_chunks")
def test_a_serving_rank_loads_the_whole_test_part_and_the_workers_share_both(
    ctx: ParallelContext, mpi_tmp_path: Path, same_error_everywhere: Callable[..., str], golden: dict[str, Any]
) -> None:
    train = Share.none() if ctx.is_root else Share(ctx.rank - 1, ctx.size - 1)
    test = Share.all() if ctx.is_root else train
    for kind in ("dense", "sparse"):
        path, damaged = mpi_tmp_path / f"{kind}.h5", mpi_tmp_path / f"{kind}-damaged.h5"
        make = golden[f"{kind}_samples"]

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
                FileFormatError,
                lambda: load_dataset(ctx, damaged, backend, train=train, test=test),  # noqa: B023
            )
            assert "damaged: its content does not add up" in message


@pytest.mark.mpi(ranks=[3])
def test_a_bad_file_is_the_same_error_on_every_rank(
    ctx: ParallelContext, mpi_tmp_path: Path, same_error_everywhere: Callable[..., str], golden: dict[str, Any]
) -> None:
    def prepare() -> None:
        whole = golden["DENSE"].read_bytes()
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
            (golden["CHECKPOINT"], FileFormatError, 'expected "hpc_sparse.dataset"'),
        ):
            message = same_error_everywhere(error, lambda: load_dataset(ctx, path, backend))  # noqa: B023
            assert reason in message
            assert path.name in message
