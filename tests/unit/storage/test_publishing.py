"""A file takes its name last: on disk before, the folder after, and not at all if anything fails."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError, OutputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container.file import DATASET_KIND, create_container


def write(ctx: ParallelContext, path: Path, **options: Any) -> None:
    with create_container(ctx, path, DATASET_KIND, **options) as writer:
        writer.write_replicated("a", np.arange(5))


def test_a_file_is_closed_and_on_disk_before_it_gets_its_name_and_the_folder_after(
    ctx: ParallelContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, seen = tmp_path / "a.h5", []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        n_open = sum(each.is_symlink() and each.resolve() == path for each in Path("/proc/self/fd").iterdir())
        seen.append(("fsync", "folder" if path.is_dir() else path.suffix, n_open))
        fsync(descriptor)

    def note_replace(path: Path, other: Path) -> Path:
        seen.append(("replace", path.suffix, other.name))
        return replace(path, other)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write(ctx, target)
    # 1: the descriptor that is being synced is the only one, so HDF5 has closed its own.
    assert seen == [("fsync", ".partial", 1), ("replace", ".partial", "a.h5"), ("fsync", "folder", 1)]


@pytest.mark.parametrize("exists", [False, True])
def test_a_disk_that_fails_in_the_end_leaves_what_was_there(
    ctx: ParallelContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    if exists:
        (tmp_path / "a.h5").write_bytes(b"before")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=r"a\.h5: cannot be written: Input/output error"):
        write(ctx, tmp_path / "a.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"] * exists
    assert not exists or (tmp_path / "a.h5").read_bytes() == b"before"


def test_a_file_that_does_not_pass_its_check_gets_no_name(ctx: ParallelContext, tmp_path: Path) -> None:
    seen = []

    def check(path: Path) -> None:
        seen.append((path.parent == tmp_path, path.stat().st_size > 0))
        raise FileFormatError("not as it should be")

    with pytest.raises(FileFormatError, match="not as it should be"):
        write(ctx, tmp_path / "a.h5", check=check)
    assert seen == [(True, True)]
    assert list(tmp_path.iterdir()) == []
