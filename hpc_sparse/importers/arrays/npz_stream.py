"""Arrays of a NumPy archive that are read in part: a range of an array is all that memory holds of it."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import DataError, quoted
from hpc_sparse.importers.arrays.archive import ARCHIVE_ERRORS
from hpc_sparse.importers.arrays.npz_members import HEADER_READERS, check_members

SKIPPED_BYTES = 1 << 20
"""Read at a time of what comes before a range."""


@dataclass(frozen=True)
class StoredArray:
    """What an archive says of an array.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    by_columns : bool
        Whether it is stored column by column (Fortran's order).
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool

    @property
    def size(self) -> int:
        """Items."""
        return math.prod(self.shape)


class StreamedArchive:
    """The arrays of one file; errors (DataError) name it.

    Attributes
    ----------
    path : Path
    arrays : dict of str to StoredArray
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrays: dict[str, StoredArray] = {}
        with self._errors(), path.open("rb") as file:
            check_members(path, file)
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                for member in archive.namelist():
                    with archive.open(member) as content:
                        shape, by_columns, dtype = HEADER_READERS[np.lib.format.read_magic(content)](content)
                    self.arrays[member.removesuffix(".npy")] = StoredArray(shape, dtype, by_columns)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def where(self, name: str) -> str:
        """Name of file and array, to begin messages with."""
        return f"{self.path}: {name}"

    def array(self, name: str) -> AnyArray:
        """A whole array."""
        stored = self.arrays[name]
        (values,) = self.items(name, 0, stored.size, max(1, stored.size))
        return values.reshape(stored.shape, order="F" if stored.by_columns else "C")

    def rows(self, name: str, start: int, stop: int) -> AnyArray:
        """Rows ``start:stop`` of an array of any number of axes; one that is stored by columns is read whole."""
        stored = self.arrays[name]
        if stored.by_columns:
            return self.array(name)[start:stop]
        per_row = math.prod(stored.shape[1:])
        (values,) = self.items(name, start * per_row, stop * per_row, max(1, (stop - start) * per_row))
        return values.reshape(stop - start, *stored.shape[1:])

    def items(self, name: str, start: int, stop: int, n_at_a_time: int) -> Iterator[AnyArray]:
        """The items ``start:stop`` in the order in which they are stored, some at a time; at least one array."""
        dtype = self.arrays[name].dtype
        with self._errors(), zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as content:
            HEADER_READERS[np.lib.format.read_magic(content)](content)
            _skip(content, start * dtype.itemsize)
            while True:
                n = min(n_at_a_time, stop - start)
                yield np.frombuffer(_read(content, n * dtype.itemsize), dtype)
                start += n
                if start >= stop:
                    return

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DataError:
            raise
        except ARCHIVE_ERRORS as error:
            reason = quoted(str(error))
            raise DataError(
                f"{self.path}: cannot be read as an .npz archive without pickled objects: {reason}"
            ) from error


def _skip(content: IO[bytes], n_bytes: int) -> None:
    while n_bytes:
        n_bytes -= len(_read(content, min(n_bytes, SKIPPED_BYTES)))


def _read(content: IO[bytes], n_bytes: int) -> bytearray:
    found, done = bytearray(n_bytes), 0
    while done < n_bytes:
        n = content.readinto(memoryview(found)[done:])  # type: ignore[attr-defined]
        if not n:
            raise EOFError(f"{n_bytes - done} bytes are missing")
        done += n
    return found
