"""Rewriting files of older format versions as the newest one, without ever being without a good file."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import FileFormatError, OutputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.storage.checkpoint.contents import Contents
from hpc_sparse.storage.checkpoint.format_4 import placed, write_contents
from hpc_sparse.storage.checkpoint.versions import read_contents
from hpc_sparse.storage.container.file import (
    CHECKPOINT_KIND,
    FORMAT_VERSIONS,
    container_kind,
    create_container,
    open_container,
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
    """Result for one file.

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
        File to write; by default the file itself is replaced.

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
        content = CheckpointContent.read(path) if kind == CHECKPOINT_KIND else DatasetContent(old)
        check = _same_as(old, path, content)
        with create_container(ParallelContext.serial(threads=1), target, kind, "serial", check=check) as writer:
            content.write(writer)
            _copy(old, writer, content.moves)
    return Upgrade(path, target, previous, version)


@dataclass(frozen=True)
class Move:
    """An array that goes from a place in an old file to one in a new file, where its rows may follow each other."""

    old: str
    new: str
    is_flat: bool = False


class Content(Protocol):
    """Contents of a file beside its arrays, and the places to which the arrays go."""

    @property
    def moves(self) -> list[Move]:
        """All arrays that are copied."""
        ...

    def write(self, writer: ContainerWriter) -> None:
        """Write all else."""
        ...

    def is_in(self, path: Path, file: h5py.File) -> bool:
        """Whether a new file holds it, its arrays apart."""
        ...


@dataclass(frozen=True)
class DatasetContent:
    """Attributes of a data set, whose arrays stay where they are."""

    old: h5py.File

    @property
    def moves(self) -> list[Move]:
        """All arrays."""
        return [Move(name, name) for name in array_names(self.old)]

    def write(self, writer: ContainerWriter) -> None:
        """Write the attributes."""
        for (group, name), value in _attributes(self.old).items():
            writer.set_attribute(group, name, value)

    def is_in(self, path: Path, file: h5py.File) -> bool:
        """Whether a new file can be read and has the same attributes and arrays."""
        read_info(path)
        return array_names(file) == array_names(self.old) and _attributes(file) == _attributes(self.old)


@dataclass(frozen=True)
class CheckpointContent:
    """Contents of a checkpoint of an old format."""

    old: Contents

    @classmethod
    def read(cls, path: Path) -> CheckpointContent:
        """The contents of a checkpoint of any format."""
        with open_container(ParallelContext.serial(threads=1), path, CHECKPOINT_KIND, "serial") as reader:
            return cls(read_contents(reader))

    @property
    def moves(self) -> list[Move]:
        """The arrays that the contents name places of."""
        old, new = self.old, placed(self.old)
        moves = [Move(place, new.front_end[name]) for name, place in old.front_end.items()]
        moves += [Move(place, new.neuron_ids[number]) for number, place in old.neuron_ids.items()]
        if old.progress is not None and new.progress is not None:
            moves.append(Move(old.progress, new.progress))
        for layer, new_layer in zip(old.layers, new.layers, strict=True):
            moves += [
                Move(array.place, new_layer.arrays[name].place, array.is_table) for name, array in layer.arrays.items()
            ]
        return moves

    def write(self, writer: ContainerWriter) -> None:
        """Write all else by the names of the newest format."""
        write_contents(writer, placed(self.old))

    def is_in(self, path: Path, file: h5py.File) -> bool:  # noqa: ARG002  (a reader opens it itself)
        """Whether the contents of a new file are the same."""
        return _comparable(self.read(path).old) == _comparable(placed(self.old))


def _comparable(contents: Contents) -> tuple[Contents, str]:
    """Contents in which not-a-number is equal to itself."""
    numbers = repr((contents.history_best, sorted(contents.metrics.items())))
    return replace(contents, history_best=None, metrics={}), numbers


def _copy(old: h5py.File, writer: ContainerWriter, moves: list[Move]) -> None:
    for move in moves:
        array = old[move.old]
        writer.create(move.new, (math.prod(array.shape),) if move.is_flat else array.shape, array.dtype)
        for start, rows in _pieces(array):
            if move.is_flat:
                writer.write(move.new, start * math.prod(array.shape[1:]), rows.reshape(-1))
            else:
                writer.write(move.new, start, rows)


def _same_as(old: h5py.File, path: Path, content: Content) -> Callable[[Path], None]:
    """Check of a new file against an open old one, whose permissions it gets."""

    def check(temporary: Path) -> None:
        verify_container(temporary)
        with h5py.File(temporary, "r", locking=False) as new:
            is_same = content.is_in(temporary, new)
            if not (is_same and all(_holds_same(old[move.old], new[move.new], move) for move in content.moves)):
                raise FileFormatError(f"{path}: its content was not the same when it was read back; it is as it was")
        shutil.copymode(path, temporary)

    return check


def _holds_same(old: h5py.Dataset, new: h5py.Dataset, move: Move) -> bool:
    shape = (math.prod(old.shape),) if move.is_flat else old.shape
    if (shape, old.dtype) != (new.shape, new.dtype):
        return False
    items_per_row = math.prod(old.shape[1:]) if move.is_flat else 1
    for start, rows in _pieces(old):
        found = np.empty((rows.size if move.is_flat else rows.shape[0], *new.shape[1:]), new.dtype)
        read_rows(new, start * items_per_row, found)
        if rows.tobytes() != found.tobytes():
            return False
    return True


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
