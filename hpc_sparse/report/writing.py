"""The folder of a report: refused if it holds something, and written so that its page comes last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hpc_sparse.errors import OutputError


def check_folder(folder: Path, *, overwrites: bool) -> None:
    """Make sure that a report may be put into a folder; changes nothing.

    Raises
    ------
    OutputError
        It is none, or holds something that is not to be replaced.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is not a folder; choose another --output")
        if not overwrites and folder.exists() and any(folder.iterdir()):
            raise OutputError(f"{folder}: holds something already; choose another --output, or --overwrite")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be looked at: {error.strerror}") from None


def write_files(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Write files in their order, each whole or not at all; returns their paths, the last one first.

    Raises
    ------
    OutputError
        One cannot be written.
    """
    paths = [folder / name for name in files]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in zip(paths, files.values(), strict=True):
            temporary = path.with_name(path.name + ".tmp")
            temporary.write_bytes(content)
            temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{folder}: the report cannot be written: {error.strerror}") from None
    return paths[::-1]


def remove_files(folder: Path, is_stale: Callable[[str], bool]) -> None:
    """Remove the files with stale names from a folder.

    Raises
    ------
    OutputError
        One cannot be removed.
    """
    try:
        for path in sorted(folder.iterdir()):
            if is_stale(path.name):
                path.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: what an earlier report left cannot be removed: {error.strerror}") from None
