"""Which checkpoint of a folder a run goes on from when some are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import NewerFormatError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.folder import (
    checkpoint_path,
    checkpoint_positions,
    newest_intact_checkpoint,
    prune_checkpoints,
    set_aside,
)
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS


@pytest.fixture
def folder(ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]) -> Path:
    """Intact checkpoints after 1, 2 and 3 epochs."""
    for epoch in (1, 2, 3):
        write_checkpoint(ctx, checkpoint_path(tmp_path, epoch), golden["checkpoint"]())
    return tmp_path


def test_the_newest_is_taken_where_all_are_intact(folder: Path) -> None:
    assert newest_intact_checkpoint(folder) == (checkpoint_path(folder, 3), [])


def test_no_checkpoints_are_no_damage(tmp_path: Path) -> None:
    assert newest_intact_checkpoint(tmp_path) == (None, [])
    assert newest_intact_checkpoint(tmp_path / "missing") == (None, [])


def test_damaged_ones_are_passed_over_with_their_reasons(folder: Path) -> None:
    checkpoint_path(folder, 3, 7).touch()
    with h5py.File(checkpoint_path(folder, 3), "a", libver=LIBRARY_VERSIONS) as file:
        file["layers/0/parameters/weight"][2] += np.float32(1)
    newest, damaged = newest_intact_checkpoint(folder)
    assert newest == checkpoint_path(folder, 2)
    assert [each.path for each in damaged] == [checkpoint_path(folder, 3, 7), checkpoint_path(folder, 3)]
    assert "checkpoint-000003+000007.h5" in damaged[0].reason
    assert "checkpoint-000003.h5: layers/0/parameters/weight: damaged" in damaged[1].reason


def test_all_damaged_leaves_none(folder: Path) -> None:
    for path in checkpoint_positions(folder).values():
        path.write_bytes(path.read_bytes()[:-1])
    newest, damaged = newest_intact_checkpoint(folder)
    assert newest is None
    assert len(damaged) == 3


def test_an_interrupted_writers_file_is_never_taken(folder: Path) -> None:
    whole = checkpoint_path(folder, 3).read_bytes()
    (folder / ".checkpoint-000009.h5.0123abcd.partial").write_bytes(whole)
    (folder / "checkpoint-000009.h5.partial").write_bytes(whole)
    assert newest_intact_checkpoint(folder)[0] == checkpoint_path(folder, 3)


def test_a_checkpoint_of_a_version_to_come_is_not_passed_over(folder: Path) -> None:
    with h5py.File(checkpoint_path(folder, 3), "a", libver=LIBRARY_VERSIONS) as file:
        file.attrs["format_version"] = 99
    with pytest.raises(NewerFormatError, match="format_version = 99"):
        newest_intact_checkpoint(folder)


def test_damaged_ones_set_aside_do_not_push_out_the_intact_one(folder: Path) -> None:
    for epoch in (2, 3):
        checkpoint_path(folder, epoch).write_bytes(b"damaged")
    newest, damaged = newest_intact_checkpoint(folder)
    for each in damaged:
        set_aside(each.path)
    prune_checkpoints(folder, 1, None)
    assert newest == checkpoint_path(folder, 1)
    assert list(checkpoint_positions(folder)) == [(1, 0)]


def test_nothing_is_overwritten_by_what_is_set_aside(folder: Path) -> None:
    path = checkpoint_path(folder, 3)
    path.write_bytes(b"first")
    assert set_aside(path).name == "checkpoint-000003.h5.damaged"
    path.write_bytes(b"second")
    aside = set_aside(path)
    assert aside.read_bytes() == b"second"
    assert sorted(file.name for file in folder.glob("*.damaged*")) == [
        "checkpoint-000003.h5.damaged",
        "checkpoint-000003.h5.damaged1",
    ]
