"""HDF5 files of other programs as the importer sees them: the HDF5 library of this process never opens one.

A limited child process reads them (:mod:`hpc_sparse.importers.arrays.foreign_hdf5`), from the descriptor that is opened
here: a file that takes the name in between is not read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays.limited_process import LimitedProcess, Limits

PROGRAM = Path(__file__).with_name("foreign_hdf5.py")
PACKAGES = ("h5py", "numpy")


class ForeignFile:
    """An HDF5 file of another program, which a limited child process has open; a context manager."""

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        if not path.is_file():
            raise DataError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
        self.path, self._descriptor = path, _descriptor_of(path)
        try:
            self._process = LimitedProcess(PROGRAM, PACKAGES, self._descriptor, limits or Limits())
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        try:
            self._process.ask(f"{self.path}: as an HDF5 file", do="open", descriptor=self._descriptor)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._process.end()
        os.close(self._descriptor)

    def arrays(self) -> dict[str, str]:
        """Type and shape of each array, and of each group of sparse rows instead of its arrays."""
        found = self._process.ask(str(self.path), do="arrays")
        if not isinstance(found, dict):
            self._process.fail(str(self.path))
        return {name: str(kind) for name, kind in found.items()}

    def has(self, name: str) -> bool:
        """Whether there is an array or group of this path."""
        return self._process.ask(f"{self.path}: {name}", do="describe", name=name) is not None

    def item(self, name: str) -> ForeignArray | ForeignGroup:
        """An array or group."""
        what = f"{self.path}: {name}"
        found = self._process.ask(what, do="describe", name=name)
        try:
            return self._described(name, found)
        except (KeyError, TypeError, ValueError):
            self._process.fail(what)

    def _described(self, name: str, found: Any) -> ForeignArray | ForeignGroup:
        shape = None if found["shape"] is None else _as_shape(found["shape"])
        if "stored_dtype" not in found:
            return ForeignGroup(self, name, tuple(map(str, found["members"])), found["encoding"], shape, found["index"])
        chunks = None if found["chunks"] is None else _as_shape(found["chunks"])
        return ForeignArray(self, name, np.dtype(str(found["stored_dtype"])), shape or (), chunks)

    def read(self, name: str, start: int, stop: int | None, axis: int) -> AnyArray:
        """Rows of an array, or columns; all of it if ``stop`` is None."""
        what = f"{self.path}: {name}" + ("" if stop is None else f": rows {start} to {stop - 1}")
        found: AnyArray = np.asarray(self._process.ask(what, do="read", name=name, start=start, stop=stop, axis=axis))
        return found


@dataclass(frozen=True)
class ForeignArray:
    """An array in a file; slices of its rows are read when they are asked for."""

    file: ForeignFile
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunks: tuple[int, ...] | None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, rows: slice, /) -> AnyArray:
        return self.read(rows.start, rows.stop)

    def read(self, start: int, stop: int, axis: int = 0) -> AnyArray:
        """Some rows, or columns."""
        found = self.file.read(self.name, start, stop, axis)
        expected = (*self.shape[:axis], stop - start, *self.shape[axis + 1 :])
        return _of_shape(f"{self.file.path}: {self.name}", found, expected)

    def all(self) -> AnyArray:
        """The whole array."""
        return _of_shape(f"{self.file.path}: {self.name}", self.file.read(self.name, 0, None, 0), self.shape)


@dataclass(frozen=True)
class ForeignGroup:
    """A group in a file, of which the arrays of sparse rows and of categories count, and which array is its index."""

    file: ForeignFile
    name: str
    members: tuple[str, ...]
    encoding: str | None
    shape: tuple[int, ...] | None
    index: str | None = None

    def array(self, member: str) -> ForeignArray:
        """One of its arrays."""
        found = self.file.item(f"{self.name}/{member}")
        if not isinstance(found, ForeignArray):
            raise DataError(f"{self.file.path}: {found.name}: is a group: expected an array")
        return found


def _of_shape(what: str, array: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    if array.shape != shape:
        raise DataError(f"{what}: shape {list(array.shape)}: expected {list(shape)}")
    return array


def _as_shape(lengths: Any) -> tuple[int, ...]:
    shape = tuple(map(int, lengths))
    if min(shape, default=0) < 0:
        raise ValueError(shape)
    return shape


def _descriptor_of(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
