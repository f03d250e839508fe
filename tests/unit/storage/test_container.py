"""Containers appear complete or not at all, say what they are, and are read as they were written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import ConfigError, DataError, FileFormatError, MachineError, OutputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container import backends, hdf5
from hpc_sparse.storage.container.file import (
    CHECKPOINT_KIND,
    DATASET_KIND,
    container_kind,
    create_container,
    open_container,
)
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS
from hpc_sparse.storage.container.word_sum import WORD_SUM, sum_matches, word_sum


def write_one(ctx: ParallelContext, path: Path, array: Any) -> None:
    with create_container(ctx, path, DATASET_KIND) as writer:
        writer.write_replicated("group/array", array)


def read_one(ctx: ParallelContext, path: Path, *rows: int) -> Any:
    with open_container(ctx, path, DATASET_KIND) as reader:
        return reader.read("group/array", *rows)


@pytest.mark.parametrize("dtype", ["u1", "i4", "i8", "f4", "f8", "S5"])
@pytest.mark.parametrize("shape", [(7,), (5, 3), (0,), (0, 4), (3, 2, 2)])
def test_an_array_comes_back_bit_for_bit(
    ctx: ParallelContext, tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    write_one(ctx, tmp_path / "a.h5", array)
    found = read_one(ctx, tmp_path / "a.h5")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_no_call_transfers_more_than_the_chunk_limit(
    ctx: ParallelContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def recording(function: Any) -> Any:
        def call(dataset: Any, start: int, rows: Any, *rest: Any) -> None:
            sizes.append(rows.nbytes)
            function(dataset, start, rows, *rest)

        return call

    monkeypatch.setattr(hdf5, "CHUNK_BYTES", 50)
    monkeypatch.setattr(hdf5, "write_rows", recording(hdf5.write_rows))
    monkeypatch.setattr(hdf5, "read_rows", recording(hdf5.read_rows))
    array = np.arange(39, dtype=np.float32).reshape(13, 3)
    write_one(ctx, tmp_path / "a.h5", array)
    np.testing.assert_array_equal(read_one(ctx, tmp_path / "a.h5", 2, 13), array[2:])
    assert sizes == [48, 48, 48, 12, 48, 48, 36]


@pytest.mark.parametrize("value", [0, -3, 2**40, 0.1, float("inf"), "", "Gärtner\n", "x" * 5000])
def test_an_attribute_comes_back_with_its_type(ctx: ParallelContext, tmp_path: Path, value: int | float | str) -> None:
    with create_container(ctx, tmp_path / "a.h5", DATASET_KIND) as writer:
        writer.set_attribute("some/group", "name", value)
    with open_container(ctx, tmp_path / "a.h5", DATASET_KIND) as reader:
        found = reader.attribute("some/group", "name")
    assert (found, type(found)) == (value, type(value))


def test_names_lists_groups_and_arrays_in_order(ctx: ParallelContext, tmp_path: Path) -> None:
    with create_container(ctx, tmp_path / "a.h5", DATASET_KIND) as writer:
        for name in ("b/y", "b/x", "a"):
            writer.write_replicated(name, np.zeros(1, np.float32))
    with open_container(ctx, tmp_path / "a.h5", DATASET_KIND) as reader:
        assert (reader.names("/"), reader.names("b")) == (["a", "b"], ["x", "y"])
        assert reader.has("b/x")
        assert not reader.has("c")


def test_a_failure_while_writing_keeps_the_old_file_and_leaves_nothing_else(
    ctx: ParallelContext, tmp_path: Path
) -> None:
    path = tmp_path / "a.h5"
    write_one(ctx, path, np.arange(3))
    before = path.read_bytes()
    with pytest.raises(AssertionError, match="do not fit"), create_container(ctx, path, DATASET_KIND) as writer:  # noqa: PT012
        writer.create("group/array", (4,), np.int64)
        writer.write("group/array", 2, np.arange(4))
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == ["a.h5"]


def test_writing_replaces_an_existing_file_with_the_usual_permissions(ctx: ParallelContext, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_one(ctx, path, np.arange(3))
    write_one(ctx, path, np.arange(4))
    (tmp_path / "usual").touch()
    assert read_one(ctx, path).size == 4
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_full_disk_is_an_output_error_and_leaves_nothing(
    ctx: ParallelContext, tmp_path: Path, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    with pytest.raises(OutputError, match=r"/a\.h5: cannot be written: File too large"), small_disk(65536):
        write_one(ctx, tmp_path / "a.h5", np.zeros(1_000_000))
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_an_output_error(ctx: ParallelContext, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path / "missing" / "a.h5", "no such folder"),
        (tmp_path / "file" / "a.h5", "no such folder"),
        (tmp_path, "is a folder"),
        (Path("/proc/a.h5"), "cannot be written"),
    ):
        with pytest.raises(OutputError, match=reason):
            write_one(ctx, path, np.arange(3))


def test_a_file_of_another_kind_is_named_with_both_kinds(ctx: ParallelContext, tmp_path: Path) -> None:
    write_one(ctx, tmp_path / "a.h5", np.arange(3))
    assert container_kind(tmp_path / "a.h5") == DATASET_KIND
    with (
        pytest.raises(FileFormatError, match=f'a.h5: format = "{DATASET_KIND}": expected "{CHECKPOINT_KIND}"'),
        open_container(ctx, tmp_path / "a.h5", CHECKPOINT_KIND),
    ):
        pass


def test_a_version_to_come_is_refused_with_its_creator(ctx: ParallelContext, tmp_path: Path) -> None:
    write_one(ctx, tmp_path / "a.h5", np.arange(3))
    with h5py.File(tmp_path / "a.h5", "a", libver=LIBRARY_VERSIONS) as file:
        file.attrs["format_version"] = 99
    with pytest.raises(FileFormatError, match=r"format_version = 99 \(written by hpc_sparse .*\): .* reads 1 to 2"):
        read_one(ctx, tmp_path / "a.h5")


def test_missing_and_foreign_files_are_told_apart(ctx: ParallelContext, tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not HDF5")
    (tmp_path / "empty.h5").touch()
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    with h5py.File(tmp_path / "other.h5", "w", libver=hdf5.LIBRARY_VERSIONS) as file:
        file["x"] = [1]
    for name, error, reason in (
        ("nowhere.h5", DataError, "no such file"),
        (".", DataError, "is not a file"),
        ("text.h5", FileFormatError, "not an HDF5 file"),
        ("empty.h5", FileFormatError, r"not an HDF5 file \(0 bytes\)"),
        ("foreign.h5", FileFormatError, "not a file of hpc_sparse"),
        ("other.h5", FileFormatError, 'attribute "format" is missing'),
    ):
        with pytest.raises(error, match=reason):
            read_one(ctx, tmp_path / name)


def test_reading_what_is_not_there_names_it(ctx: ParallelContext, tmp_path: Path) -> None:
    write_one(ctx, tmp_path / "a.h5", np.arange(3))
    with open_container(ctx, tmp_path / "a.h5", DATASET_KIND) as reader:
        with pytest.raises(FileFormatError, match=r"a\.h5: cannot read missing/array"):
            reader.read("missing/array")
        with pytest.raises(FileFormatError, match="group: is not an array"):
            reader.read("group")
        with pytest.raises(FileFormatError, match="rows 1 to 4 wanted, it has 3"):
            reader.read("group/array", 1, 4)
        with pytest.raises(FileFormatError, match='attribute "color" of group'):
            reader.attribute("group", "color")
        with pytest.raises(FileFormatError, match=r"is int64\[3\], expected float32\[any\]"):
            reader.require("group/array", np.float32, (None,))


def test_auto_is_serial_for_one_process(ctx: ParallelContext) -> None:
    assert backends.choose_backend(ctx, "auto") == "serial"
    with pytest.raises(ConfigError, match='"fast": expected one of auto, mpio, serial'):
        backends.choose_backend(ctx, "fast")


def test_asking_for_mpio_where_it_cannot_work_says_what_to_do(
    ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "has_parallel_hdf5", lambda: True)
    with pytest.raises(MachineError, match="start with mpirun"):
        backends.choose_backend(ctx, "mpio")
    monkeypatch.setattr(backends, "has_parallel_hdf5", lambda: False)
    with pytest.raises(MachineError, match="built without MPI"):
        backends.choose_backend(ctx, "mpio")


@pytest.mark.parametrize("dtype", ["u1", "i4", "i8", "f4", "f8", "S3"])
def test_any_flipped_bit_changes_the_word_sum(dtype: str) -> None:
    array = np.arange(24, dtype=np.uint8).view(dtype)
    expected = word_sum(array)
    damaged = array.copy()
    raw = damaged.view(np.uint8)
    for position in range(24):
        for bit in range(8):
            raw[position] ^= 1 << bit
            assert word_sum(damaged) != expected
            raw[position] ^= 1 << bit


def test_word_sums_add_up_over_any_division_of_the_rows() -> None:
    array = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    total = int(word_sum(array))
    parts = [(start, stop, int(word_sum(array[start:stop], start))) for start, stop in ((4, 10), (0, 4), (4, 4))]
    assert sum_matches(total, 10, parts)
    assert not sum_matches(total + 1, 10, parts)
    assert not sum_matches(total + 1, 10, [(0, 10, total)] * 3)
    assert sum_matches(total + 1, 10, parts[:1]), "part of the rows tells nothing"
    whole = (0, 10, total)
    assert sum_matches(total, 10, [whole, *parts])
    assert not sum_matches(total, 10, [(0, 10, total + 1), *parts]), "the rank that read all rows read something else"
    assert not sum_matches(total, 10, [whole, (0, 4, parts[1][2] + 1), parts[0]]), "the others did"
    assert not sum_matches(total, 10, [(0, 10, total + 1), parts[0]])
    assert sum_matches(total, 10, [whole, (0, 0, 0), (10, 10, 0)])
    assert sum_matches(total + 1, 10, [*parts, parts[0]]), "rows that were read twice tell nothing"


def test_an_array_that_takes_no_room_in_the_file_is_given_none_in_memory(ctx: ParallelContext, tmp_path: Path) -> None:
    write_one(ctx, tmp_path / "a.h5", np.arange(3))
    with h5py.File(tmp_path / "a.h5", "a", libver=LIBRARY_VERSIONS) as file:
        file.create_dataset("never written", (1000,), np.int64)
        file["never written"].attrs[WORD_SUM] = np.uint64(0)
    with pytest.raises(FileFormatError, match=r"a\.h5: never written: holds 0 bytes: expected 8000"):
        read_one(ctx, tmp_path / "a.h5")
