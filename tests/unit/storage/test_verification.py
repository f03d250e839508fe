"""A file is read whole, in pieces, and any damage in it is found."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import DataError, FileFormatError, NewerFormatError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage import verification
from hpc_sparse.storage.checkpoint.file import read_replicas, write_checkpoint
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS
from hpc_sparse.storage.container.word_sum import PLAIN_WORD_SUM, WORD_SUM
from hpc_sparse.storage.verification import checksum_name, verify_checkpoint, verify_container


@pytest.mark.parametrize("piece_bytes", [1, 40, 1 << 20])
@pytest.mark.parametrize(
    "name", ["CHECKPOINT", "REDUCED", "REPLICAS", "REPLICAS_V3", "REPLICAS_V4", "DEEP_V4", "DENSE", "SPARSE_V2"]
)
def test_intact_files_of_every_version_are_found_intact(
    golden: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str, piece_bytes: int
) -> None:
    monkeypatch.setattr(verification, "PIECE_BYTES", piece_bytes)
    verify_container(golden[name])
    if name not in ("DENSE", "SPARSE_V2"):
        verify_checkpoint(golden[name])


def test_the_kind_of_checksum_is_told(ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]) -> None:
    write_checkpoint(ctx, tmp_path / "new.h5", golden["checkpoint"]())
    assert checksum_name(tmp_path / "new.h5") == WORD_SUM
    assert checksum_name(golden["CHECKPOINT"]) == checksum_name(golden["DENSE"]) == PLAIN_WORD_SUM


def test_two_rows_that_swapped_places_are_noticed(ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]) -> None:
    path = tmp_path / "swapped.h5"
    write_checkpoint(ctx, path, golden["checkpoint"]())
    with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
        weight = file["layers/1/parameters/weight"]
        weight[:] = weight[:][::-1]
    for read in (verify_checkpoint, read_replicas):
        with pytest.raises(FileFormatError, match=r"swapped\.h5: layers/1/parameters/weight: damaged"):
            read(path)


def test_an_array_without_checksum_is_refused(ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]) -> None:
    path = tmp_path / "bare.h5"
    write_checkpoint(ctx, path, golden["checkpoint"]())
    with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
        del file["layers/1/parameters/weight"].attrs[WORD_SUM]
    with pytest.raises(FileFormatError, match=r"bare\.h5: .*layers/1/parameters/weight"):
        verify_checkpoint(path)


def test_a_flipped_bit_is_found_or_changes_nothing_that_is_read(
    ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]
) -> None:
    path = tmp_path / "flipped.h5"
    write_checkpoint(ctx, path, golden["reduced_checkpoint"]())
    whole = bytearray(path.read_bytes())
    expected = repr(read_replicas(path))
    n_found = 0
    for position in random.Random(1).sample(range(8 * len(whole)), 150):
        whole[position // 8] ^= 1 << position % 8
        path.write_bytes(whole)
        whole[position // 8] ^= 1 << position % 8
        try:
            verify_checkpoint(path)
        except FileFormatError as error:
            assert "flipped.h5" in str(error)  # noqa: PT017  (either outcome is fine)
            n_found += 1
        else:
            assert repr(read_replicas(path)) == expected, f"bit {position} went unnoticed"
    assert n_found > 15


def test_what_is_missing_foreign_or_cut_off_is_found(tmp_path: Path, golden: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="no such file"):
        verify_checkpoint(tmp_path / "missing.h5")
    whole = golden["REDUCED"].read_bytes()
    for n_bytes in (0, 100, len(whole) - 1):
        (tmp_path / "cut.h5").write_bytes(whole[:n_bytes])
        with pytest.raises(FileFormatError, match=r"cut\.h5"):
            verify_checkpoint(tmp_path / "cut.h5")
    with pytest.raises(FileFormatError, match="expected"):
        verify_checkpoint(golden["DENSE"])


def test_a_version_to_come_is_not_taken_for_damage(
    ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]
) -> None:
    write_checkpoint(ctx, tmp_path / "new.h5", golden["checkpoint"]())
    with h5py.File(tmp_path / "new.h5", "a", libver=LIBRARY_VERSIONS) as file:
        file.attrs["format_version"] = np.int64(99)
    with pytest.raises(NewerFormatError, match="format_version = 99"):
        verify_checkpoint(tmp_path / "new.h5")
