"""A container that is replaced between the look at its structure and its opening is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpc_sparse.errors import FileFormatError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.container import file as container
from hpc_sparse.storage.container.failure import LEFT_OPEN
from hpc_sparse.storage.container.identity import FileIdentity
from hpc_sparse.storage.verification import checksum_name, verify_container

REPLACED = r"a\.h5: was replaced while it was opened: expected one that stays"


@pytest.fixture
def path(tmp_path: Path, golden: dict[str, Any]) -> Path:
    """A checkpoint, of which there is a second one beside it."""
    shutil.copy(golden["CHECKPOINT"], tmp_path / "b.h5")
    return Path(shutil.copy(golden["CHECKPOINT"], tmp_path / "a.h5"))


def replaced_after(function: Callable[..., Any], path: Path) -> Callable[..., Any]:
    """The function, after which the other file has the name."""

    def look_and_replace(*arguments: Any) -> Any:
        found = function(*arguments)
        if (other := path.with_name("b.h5")).exists():
            other.replace(path)
        return found

    return look_and_replace


@pytest.mark.parametrize("read", [container.container_kind, verify_container, checksum_name])
def test_a_file_replaced_after_its_structure_was_read_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], Any]
) -> None:
    monkeypatch.setattr(container, "check_plain", replaced_after(container.check_plain, path))
    with pytest.raises(FileFormatError, match=REPLACED):
        read(path)
    read(path)


def test_a_file_replaced_before_all_ranks_open_it_is_refused(
    ctx: ParallelContext, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "check_container", replaced_after(container.check_container, path))
    with pytest.raises(FileFormatError, match=REPLACED):
        read_checkpoint(ctx, path)
    assert LEFT_OPEN == []
    read_checkpoint(ctx, path)


def test_on_another_machine_only_the_size_can_be_compared(path: Path) -> None:
    elsewhere = FileIdentity.of(path.stat())._replace(machine="another", inode=1, device=2)
    elsewhere.require(path, path.stat())
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(FileFormatError, match=REPLACED):
        elsewhere.require(path, path.stat())
