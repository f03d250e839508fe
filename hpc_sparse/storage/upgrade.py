"""Rewriting files of older format versions as the newest one, without ever being without a good file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import FileFormatError, OutputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.storage.checkpoint.info import ABSENT_FROM_VERSION_1, read_checkpoint_info
from hpc_sparse.storage.container.file import (
    CHECKPOINT_KIND,
    FORMAT_VERSIONS,
    container_kind,
    create_container,
    open_plain,
)
from hpc_sparse.storage.container.hdf5 import Attribute, format_errors, get_attribute, read_rows
from hpc_sparse.storage.container.writer import ContainerWriter
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.verification import array_names, verify_container

PIECE_BYTES = 64 * 1024 * 1024
"""Copied at a time."""

OF_THE_CONTAINER = ("format", "format_version", "creator")
"""Attributes of the root that every container gets when it is written."""


@dataclass(frozen=True)
class Upgrade:
    """What became of a file.

    Attributes
    ----------
    path, output : Path
        The file, and the one that holds its content as ``version`` now.
    previous, version : int
        Format versions; equal if there was nothing to do.
    """

    path: Path
    output: Path
    previous: int
    version: int

    def __str__(self) -> str:
        if self.previous == self.version:
            return f"{self.path}: is already format {self.version}"
        where = "" if self.output == self.path else f", written to {self.output}"
        return f"{self.path}: format {self.previous} -> {self.version}{where}"


def upgrade_file(path: Path, output: Path | None = None) -> Upgrade:
    """Rewrite a data set or checkpoint as the newest format version; needs no MPI.

    The new file takes its name only once it has been read back and found to hold the same. Damaged files are refused.

    Parameters
    ----------
    path : Path
    output : Path, optional
        Where to write; by default the file itself is replaced.

    Raises
    ------
    DataError, FileFormatError
        The file is missing, damaged or foreign, or of a later version.
    OutputError
        ``output`` exists already, or the new file cannot be written.
    """
    kind = container_kind(path)
    verify_container(path)
    target = path if output is None else output
    version = FORMAT_VERSIONS[kind]
    with open_plain(path) as old, format_errors(path, "the file"):
        previous = int(get_attribute(old, "/", "format_version"))
        if previous == version:
            return Upgrade(path, path, version, version)
        if output is not None and output.exists():
            raise OutputError(f"{output}: exists already and is not overwritten")
        alone = ParallelContext.serial(threads=1)
        with create_container(alone, target, kind, "serial", check=_same_as(old, path, kind)) as writer:
            _copy(old, writer)
            for name, value in _added_since(kind, previous).items():
                writer.set_attribute("/", name, value)
    return Upgrade(path, target, previous, version)


def _added_since(kind: str, version: int) -> dict[str, int]:
    """Attributes of the root that were added after ``version``, with what their absence stood for."""
    return ABSENT_FROM_VERSION_1 if kind == CHECKPOINT_KIND and version == 1 else {}


def _copy(old: h5py.File, writer: ContainerWriter) -> None:
    for (group, name), value in _attributes(old).items():
        writer.set_attribute(group, name, value)
    for name in array_names(old):
        array = old[name]
        writer.create(name, array.shape, array.dtype)
        for start, rows in _pieces(array):
            writer.write(name, start, rows)


def _same_as(old: h5py.File, path: Path, kind: str) -> Callable[[Path], None]:
    """Check of a new file against an open old one, whose permissions it gets."""

    def check(temporary: Path) -> None:
        verify_container(temporary)
        read = read_checkpoint_info if kind == CHECKPOINT_KIND else read_info
        read(temporary)
        with h5py.File(temporary, "r", locking=False) as new:
            found, expected = _attributes(new), _attributes(old)
            is_same = array_names(new) == array_names(old) and expected.items() <= found.items()
            if not (is_same and all(_holds_same(old[name], new[name]) for name in array_names(old))):
                raise FileFormatError(f"{path}: its content was not the same when it was read back; it is as it was")
        shutil.copymode(path, temporary)

    return check


def _holds_same(old: h5py.Dataset, new: h5py.Dataset) -> bool:
    if (old.shape, old.dtype) != (new.shape, new.dtype):
        return False
    pairs = zip(_pieces(old), _pieces(new), strict=True)
    return all(rows.tobytes() == new_rows.tobytes() for (_, rows), (_, new_rows) in pairs)


def _attributes(file: h5py.File) -> dict[tuple[str, str], Attribute]:
    """All attributes of groups, by group and name, but those that the container itself sets."""
    groups = ["/"]
    file.visititems(lambda name, item: groups.append(name) if isinstance(item, h5py.Group) else None)
    return {
        (group, name): get_attribute(file, group, name)
        for group in groups
        for name in file[group].attrs
        if group != "/" or name not in OF_THE_CONTAINER
    }


def _pieces(array: h5py.Dataset) -> Iterator[tuple[int, AnyArray]]:
    """First row and rows of consecutive parts of an array."""
    row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    for start, stop in chunk_ranges(0, array.shape[0], max(1, PIECE_BYTES // max(1, row_bytes))):
        rows = np.empty((stop - start, *array.shape[1:]), array.dtype)
        read_rows(array, start, rows)
        yield start, rows
