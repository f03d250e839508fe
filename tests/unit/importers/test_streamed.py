"""What is imported in chunks and blocks of any size is what would have been written at once."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.errors import DataError, OutputError
from hpc_sparse.importers import spool, streamed
from hpc_sparse.importers.arrays.rows import ArrayPart, ArraySource, DenseRows, Matrix, sparse_matrix_rows
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.split import random_split, stratified_split
from hpc_sparse.importers.streamed import import_streamed
from hpc_sparse.storage.dataset import writer
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features, Samples, take_rows
from hpc_sparse.storage.dataset.writer import write_dataset

RNG = np.random.default_rng(11)
DENSE = RNG.normal(size=(61, 5)).astype(np.float32)
SPARSE = scipy.sparse.random_array((61, 40), density=0.1, format="csr", rng=RNG, dtype=np.float32)
SPARSE.sort_indices()
SPARSE = SPARSE * (np.arange(61)[:, None] % 4 > 0)  # some empty rows
SPARSE = scipy.sparse.csr_array(SPARSE)
SPARSE.eliminate_zeros()
LABELS = np.arange(61, dtype=np.int32) % 3


def features_of(kind: str) -> Features:
    if kind == "dense":
        return DenseFeatures(DENSE)
    return CsrFeatures(SPARSE.indptr.astype(np.int64), SPARSE.indices.astype(np.int32), SPARSE.data, 40)


def matrix_of(kind: str, rows_per_chunk: int, rows: Any = slice(None)) -> Matrix:
    matrix: Matrix = DenseRows("x", DENSE[rows]) if kind == "dense" else sparse_matrix_rows("x", SPARSE[rows])
    matrix.rows_per_chunk = rows_per_chunk
    return matrix


@pytest.fixture(params=[(7, 1, 100), (61, 10**9, 10**9)], ids=["tiny blocks", "one block"])
def rows_per_chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Size of chunks, with sizes of blocks set."""
    rows, chunk_bytes, block_bytes = request.param
    monkeypatch.setattr(spool, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(streamed, "BLOCK_BYTES", block_bytes)
    return int(rows)


def contents(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: found.update({name: item[:]}) if isinstance(item, h5py.Dataset) else None)
        found |= dict(file.attrs)
    return found


def assert_same(path: Path, other: Path) -> None:
    first, second = contents(path), contents(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        if name in ("statistics/mean", "statistics/deviation"):  # sums over other blocks
            np.testing.assert_allclose(value, second[name], rtol=1e-6, atol=1e-7)
        else:
            np.testing.assert_array_equal(value, second[name], err_msg=name)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("stratified", [True, False])
def test_a_divided_stream_is_what_would_be_written_at_once(
    tmp_path: Path, rows_per_chunk: int, kind: str, stratified: bool
) -> None:
    source = ArraySource("x", [ArrayPart(matrix_of(kind, rows_per_chunk), LABELS)], "x, y")
    options = ImportOptions(test_fraction=0.3, split_seed=5, stratified=stratified, order_seed=7)
    info = import_streamed(source, tmp_path / "a.h5", "title", options)
    split = stratified_split(LABELS, 0.3, 5) if stratified else random_split(61, 0.3, 5)
    train, test = (Samples(take_rows(features_of(kind), rows), LABELS[rows]) for rows in split)
    names = ("0", "1", "2")
    write_dataset(
        tmp_path / "b.h5",
        train,
        test,
        title="title",
        class_names=names,
        source="x, y",
        split=info.split,
        order_seed=7,
    )
    assert_same(tmp_path / "a.h5", tmp_path / "b.h5")
    assert ("within each class" in info.split) == stratified
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_a_given_test_set_keeps_its_order(tmp_path: Path, rows_per_chunk: int, kind: str) -> None:
    halves = [
        ArrayPart(matrix_of(kind, rows_per_chunk, rows), LABELS[rows]) for rows in (slice(0, 40), slice(40, None))
    ]
    info = import_streamed(ArraySource("x", halves, "s"), tmp_path / "a.h5", "t", ImportOptions())
    every = features_of(kind)
    train, test = (Samples(take_rows(every, rows), LABELS[rows]) for rows in (np.arange(40), np.arange(40, 61)))
    write_dataset(
        tmp_path / "b.h5", train, test, title="t", class_names=("0", "1", "2"), source="s", split="as published"
    )
    assert info.split == "as published"
    assert_same(tmp_path / "a.h5", tmp_path / "b.h5")


def test_bytes_stay_bytes_only_if_both_sets_are(tmp_path: Path) -> None:
    small = np.arange(24, dtype=np.uint8).reshape(8, 3)
    for test, expected in ((small, "uint8"), (small * np.float32(0.5), "float32")):
        sets = [ArrayPart(DenseRows("x", values), LABELS[:8]) for values in (small, test)]
        options = ImportOptions(overwrite=True)
        info = import_streamed(ArraySource("x", sets, "s"), tmp_path / "a.h5", "t", options)
        assert info.dtype == expected
        with h5py.File(tmp_path / "a.h5", "r") as file:
            np.testing.assert_array_equal(file["test/features"][:], test)


@pytest.mark.parametrize("options", [ImportOptions(), ImportOptions(log2=True)])
def test_a_wrong_value_leaves_nothing_behind(tmp_path: Path, options: ImportOptions) -> None:
    values = DENSE.copy()
    values[50, 2] = np.nan
    source = ArraySource("x", [ArrayPart(DenseRows("x", values), LABELS)], "s")
    with pytest.raises(DataError, match=r"x\[50, 2\] = nan"):
        import_streamed(source, tmp_path / "a.h5", "t", options)
    assert list(tmp_path.iterdir()) == []


def test_log2_of_chunks_is_log2_of_all(tmp_path: Path, rows_per_chunk: int) -> None:
    source = ArraySource("x", [ArrayPart(matrix_of("dense", rows_per_chunk), LABELS)], "s")
    info = import_streamed(source, tmp_path / "a.h5", "t", ImportOptions(log2=True))
    with h5py.File(tmp_path / "a.h5", "r") as file:
        found = np.concatenate([file["train/features"][:], file["test/features"][:]])
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(np.log2(np.maximum(DENSE, 1)), axis=0))
    assert info.source == "s, log2(max(x, 1))"


def test_a_full_disk_and_a_missing_folder_are_output_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ArraySource("x", [ArrayPart(matrix_of("dense", 7), LABELS)], "s")
    with pytest.raises(OutputError, match=r"a.h5: cannot be written: No such file"):
        import_streamed(source, tmp_path / "nowhere" / "a.h5", "t", ImportOptions())

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool.RowSpool, "append", fail)
    with pytest.raises(OutputError, match=r"a.h5: cannot be written: No space left"):
        import_streamed(source, tmp_path / "a.h5", "t", ImportOptions())
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("old")
    source = ArraySource("x", [ArrayPart(matrix_of("dense", 7), LABELS)], "s")
    source.chunks = lambda part: pytest.fail("was read")  # type: ignore[method-assign, assignment]
    with pytest.raises(OutputError, match="exists already"):
        import_streamed(source, tmp_path / "a.h5", "t", ImportOptions())
    assert (tmp_path / "a.h5").read_text() == "old"


def test_progress_is_told_to_the_end(tmp_path: Path, rows_per_chunk: int) -> None:
    told: list[tuple[str, int, int]] = []
    source = ArraySource("x", [ArrayPart(matrix_of("dense", rows_per_chunk), LABELS)], "s")
    report: Callable[[str, int, int], None] = lambda *step: told.append(step)  # noqa: E731
    info = import_streamed(source, tmp_path / "a.h5", "t", ImportOptions(report=report))
    for doing, total in (("reading", 61), ("writing", info.n_train)):
        steps = [step for step in told if step[0] == doing]
        assert steps[-1] == (doing, total, total)
        assert steps == sorted(steps)


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "CHUNK_BYTES", 1000)
    largest = 0
    real = writer.ContainerWriter.write

    def write(self: Any, name: str, start: int, array: Any) -> None:
        nonlocal largest
        if name.endswith("features"):
            largest = max(largest, array.shape[0])
        real(self, name, start, array)

    monkeypatch.setattr(writer.ContainerWriter, "write", write)
    monkeypatch.setattr(streamed, "BLOCK_BYTES", 200)
    source = ArraySource("x", [ArrayPart(matrix_of("dense", 7), LABELS)], "s")
    import_streamed(source, tmp_path / "a.h5", "t", ImportOptions())
    assert largest == 200 // 20


def test_rows_come_in_the_order_that_is_asked_for(tmp_path: Path, rows_per_chunk: int) -> None:
    order = RNG.permutation(61)[:33]

    def check(blocks: Iterator[Features], expected: Any) -> None:
        found = [block.values for block in blocks if isinstance(block, DenseFeatures)]
        np.testing.assert_array_equal(np.concatenate(found), expected)

    with spool.RowSpool(tmp_path / "s") as rows:
        for start in range(0, 61, 9):
            rows.append(DenseFeatures(DENSE[start : start + 9]))
        rows.finish()
        check(spool.rows_in_order(rows, order, tmp_path, 4), DENSE[order])
        is_kept = np.arange(61) % 5 == 0
        check(spool.rows_kept(rows, is_kept, 4), DENSE[is_kept])


def test_there_are_never_more_buckets_than_files_may_be_open(tmp_path: Path) -> None:
    with spool.RowSpool(tmp_path / "s") as rows:
        rows.append(DenseFeatures(np.arange(1000, dtype=np.float32)[:, None]))
        rows.finish()
        blocks = list(spool.rows_in_order(rows, np.arange(1000)[::-1], tmp_path, 1))
    assert len(blocks) <= spool.MOST_BUCKETS
    np.testing.assert_array_equal(np.concatenate([b.values[:, 0] for b in blocks]), np.arange(1000)[::-1])  # type: ignore[union-attr]


def test_labels_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    values = np.zeros((200, 1), np.float32)
    source = ArraySource("x", [ArrayPart(DenseRows("x", values), np.arange(200))], "s")
    with pytest.raises(DataError, match="200 different ones of 200 samples: expected classes"):
        import_streamed(source, tmp_path / "a.h5", "t", ImportOptions())
