"""Old files are rewritten as the newest version with the same content, or stay exactly as they were."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError, OutputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage import upgrade
from hpc_sparse.storage.checkpoint.file import read_replicas
from hpc_sparse.storage.checkpoint.format_4 import write_contents
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.container.file import CHECKPOINT_KIND, DATASET_KIND, FORMAT_VERSIONS
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS
from hpc_sparse.storage.container.word_sum import WORD_SUM
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.upgrade import upgrade_file
from hpc_sparse.storage.verification import checksum_name


def content(path: Path, name: str) -> str:
    """All that a reader makes of a file, but its path, sizes and versions."""
    if name in ("DENSE", "SPARSE"):
        dataset = load_dataset(ParallelContext.serial(threads=1), path)
        return repr((dataset.train, dataset.test, dataset.mean, dataset.deviation, dataset.info.class_names))
    return repr(read_replicas(path))


@pytest.mark.parametrize("piece_bytes", [8, 1 << 20])
@pytest.mark.parametrize(
    ("name", "previous"),
    [
        *[("CHECKPOINT", 1), ("REDUCED", 2), ("REPLICAS", 2), ("REDUCED_V3", 3), ("REPLICAS_V3", 3)],
        *[("DENSE", 1), ("SPARSE", 1)],
    ],
)
def test_an_old_file_is_replaced_by_a_new_one_of_the_same_content(
    golden: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    previous: int,
    piece_bytes: int,
) -> None:
    monkeypatch.setattr(upgrade, "PIECE_BYTES", piece_bytes)
    path = Path(shutil.copy(golden[name], tmp_path / "old.h5"))
    path.chmod(0o640)
    newest = FORMAT_VERSIONS[DATASET_KIND if name in ("DENSE", "SPARSE") else CHECKPOINT_KIND]
    before = content(path, name)
    assert str(upgrade_file(path)) == f"{path}: format {previous} -> {newest}"
    assert content(path, name) == before
    assert checksum_name(path) == WORD_SUM
    assert path.stat().st_mode & 0o777 == 0o640
    bytes_now = path.read_bytes()
    assert str(upgrade_file(path)) == f"{path}: is already format {newest}"
    assert path.read_bytes() == bytes_now
    assert list(tmp_path.iterdir()) == [path]


def test_another_file_is_written_if_asked_and_never_overwritten(golden: dict[str, Any], tmp_path: Path) -> None:
    path = Path(shutil.copy(golden["REDUCED"], tmp_path / "old.h5"))
    before = path.read_bytes()
    assert "written to" in str(upgrade_file(path, tmp_path / "new.h5"))
    assert path.read_bytes() == before
    assert read_checkpoint_info(tmp_path / "new.h5").format_version == FORMAT_VERSIONS[CHECKPOINT_KIND]
    with pytest.raises(OutputError, match=r"new\.h5: exists already"):
        upgrade_file(path, tmp_path / "new.h5")


def test_a_damaged_file_is_refused_and_stays(golden: dict[str, Any], tmp_path: Path) -> None:
    path = Path(shutil.copy(golden["REDUCED"], tmp_path / "old.h5"))
    with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
        file["layers/0000/weight"][0] += np.float32(1)
    before = path.read_bytes()
    with pytest.raises(FileFormatError, match=r"old\.h5: layers/0000/weight: damaged"):
        upgrade_file(path)
    assert path.read_bytes() == before


def test_the_old_file_stays_if_the_new_one_reads_back_different(
    golden: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(golden["REDUCED"], tmp_path / "old.h5"))
    before = path.read_bytes()
    monkeypatch.setattr(upgrade, "_copy", copy_wrongly)
    with pytest.raises(FileFormatError, match=r"old\.h5: its content was not the same"):
        upgrade_file(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def copy_wrongly(old: h5py.File, writer: Any, moves: list[upgrade.Move]) -> None:
    for move in moves:
        array = old[move.old][:]
        writer.create(move.new, array.shape, array.dtype)
        writer.write(move.new, 0, array + np.float32(1) if move.new.endswith("bias") else array)


def test_a_text_of_the_old_file_that_reads_back_different_is_noticed(
    golden: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(golden["REDUCED"], tmp_path / "old.h5"))
    wrong = lambda writer, contents: write_contents(writer, dataclasses.replace(contents, step=1))  # noqa: E731
    monkeypatch.setattr(upgrade, "write_contents", wrong)
    with pytest.raises(FileFormatError, match=r"old\.h5: its content was not the same"):
        upgrade_file(path)
    assert read_checkpoint_info(path).format_version == 2
