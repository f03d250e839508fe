"""Reading the arrays and attributes of a container, each rank the rows it needs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import h5py
import numpy as np
import numpy.typing as npt

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import FileFormatError, quoted
from hpc_sparse.parallel.collectives import collective_errors, gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container.backends import BackendName, FileReader, open_reader
from hpc_sparse.storage.container.failure import ContainerFailure
from hpc_sparse.storage.container.hdf5 import Attribute, format_errors, get_attribute
from hpc_sparse.storage.container.identity import FileIdentity
from hpc_sparse.storage.container.word_sum import PLAIN_WORD_SUM, WORD_SUM, plain_word_sum, sum_matches, word_sum

LARGEST_INTEGER = int(np.iinfo(np.int64).max)

MESSAGE_LENGTH = 500
"""Characters shown of what may be a foreign file's own words."""


class ContainerReader:
    """An open container; made by :func:`~hpc_sparse.storage.container.file.open_container`.

    All ranks call each method, in the same order and with the same names.
    """

    def __init__(self, ctx: ParallelContext, path: Path, backend: BackendName, file: FileReader) -> None:
        self.ctx = ctx
        self.path = path
        self.backend = backend
        self._file = file
        self._attributes: dict[str, dict[str, Attribute]] = {}
        self._failure = ContainerFailure(ctx)

    @classmethod
    def start(cls, ctx: ParallelContext, path: Path, backend: BackendName, identity: FileIdentity) -> ContainerReader:
        """The container in a file, which must still be the one that was checked (collective)."""
        # With mpio the guard has HDF5's own collective call in it: it is what may fail.
        with _same_errors(ctx, path, "the file"):
            file = open_reader(ctx, path, backend)
        reader = cls(ctx, path, backend, file)
        try:
            with reader._together("the file"):
                identity.require(path, file.status())
        except BaseException:
            reader.abandon()
            raise
        return reader

    def read(self, name: str, start: int = 0, stop: int | None = None) -> AnyArray:
        """Rows ``start:stop`` of an array, other ones on each rank if wanted (collective).

        Raises
        ------
        FileFormatError
            On every rank: the array is missing, shorter than that, or damaged. Damage is noticed
            where each rank reads all rows, or the ranks' rows make up all of them once.
        """
        with self._together(name):
            dataset = self._array(name)
            n_rows = dataset.shape[0]
            last = n_rows if stop is None else stop
            if not 0 <= start <= last <= n_rows:
                raise FileFormatError(f"{self.path}: {name}: rows {start} to {last} wanted, it has {n_rows}")
            sum_name = WORD_SUM if WORD_SUM in dataset.attrs else PLAIN_WORD_SUM
            if not isinstance(expected := get_attribute(self._file.file, name, sum_name), int):
                found = quoted(repr(expected))
                raise FileFormatError(f"{self.path}: {name}: {sum_name} = {found}: expected an integer")
            rows = np.empty((last - start, *dataset.shape[1:]), dataset.dtype)
        most_rows = max(gather_objects(self.ctx, rows.shape[0]))
        # mpio lets its collective calls fail together itself; with serial every rank reads on its own.
        with self._failure.agreed() if self.backend == "mpio" else self._together(name):
            self._file.read(name, start, rows, most_rows)
        own_sum = word_sum(rows, start) if sum_name == WORD_SUM else plain_word_sum(rows)
        parts = gather_objects(self.ctx, (start, last, int(own_sum)))
        if not sum_matches(expected, n_rows, parts):
            self.fail(f"{name}: damaged: its content does not add up to its {sum_name}")
        return rows

    def require(self, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> tuple[int, ...]:
        """The shape of an array, which must have this dtype and fit ``shape``, where None fits any length (collective).

        Raises
        ------
        FileFormatError
            On every rank: it does not.
        """
        with self._together(name):
            array = self._array(name)
            found, found_dtype = tuple(int(length) for length in array.shape), array.dtype
        fits = len(found) == len(shape) and all(want in (None, have) for want, have in zip(shape, found, strict=True))
        if not fits or found_dtype != np.dtype(dtype):
            wanted = ", ".join("any" if length is None else str(length) for length in shape)
            self.fail(f"{name}: is {found_dtype}{list(found)}, expected {np.dtype(dtype)}[{wanted}]")
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array (collective)."""
        with self._together(name):
            return tuple(int(length) for length in self._array(name).shape)

    def dtype(self, name: str) -> np.dtype[np.generic]:
        """Type of an array's elements (collective)."""
        with self._together(name):
            dtype: np.dtype[np.generic] = self._array(name).dtype
            return dtype

    def attributes(self, group: str) -> dict[str, Attribute]:
        """All attributes of a group by name (collective)."""
        with self._together(f"attributes of {group}"):
            return {name: get_attribute(self._file.file, group, name) for name in self._file.file[group].attrs}

    def attribute(self, group: str, name: str) -> Attribute:
        """An attribute of a group (collective); those of a group are read together, when the first one is asked for."""
        if group not in self._attributes:
            self._attributes[group] = self.attributes(group)
        if name not in self._attributes[group]:
            self.fail(f'cannot read attribute "{name}" of {group}: missing or damaged')
        return self._attributes[group][name]

    def integer(self, group: str, name: str, minimum: int = 0) -> int:
        """An attribute that must be an integer of at least ``minimum``, of 64 bits (collective)."""
        value = self.attribute(group, name)
        if not isinstance(value, int) or not minimum <= value <= LARGEST_INTEGER:
            self.fail(f"{group}: {name} = {value!r}: expected an integer >= {minimum}")
        return value

    def number(self, group: str, name: str) -> float:
        """An attribute that must be a number (collective)."""
        value = self.attribute(group, name)
        if isinstance(value, str):
            self.fail(f"{group}: {name} = {value!r}: expected a number")
        return float(value)

    def read_text(self, name: str, n_texts: int | None, most_bytes: int) -> tuple[str, ...]:
        """Texts in UTF-8, ``n_texts`` of them or any number, in at most ``most_bytes`` (collective)."""
        shape, dtype = self.shape(name), self.dtype(name)
        if dtype.kind != "S" or len(shape) != 1 or n_texts not in (None, shape[0]):
            self.fail(f"{name}: is {dtype}{list(shape)}, expected text[{'any' if n_texts is None else n_texts}]")
        if (n_bytes := shape[0] * dtype.itemsize) > most_bytes:
            self.fail(f"{name}: {n_bytes} bytes of text: expected at most {most_bytes}")
        texts = self.read(name).tolist()
        try:
            return tuple(text.decode() for text in texts)
        except UnicodeDecodeError as error:
            self.fail(f"{name}: {error.object[:40]!r}: expected text in UTF-8")

    def fail(self, message: str) -> NoReturn:
        """Raise a :class:`FileFormatError` that names the file; all ranks must come here (collective)."""
        self._failure.is_shared = True
        raise FileFormatError(f"{self.path}: {quoted(message, MESSAGE_LENGTH)}")

    def names(self, group: str) -> list[str]:
        """Sorted names of the groups and arrays in a group (collective)."""
        with self._together(group):
            found = self._file.file[group]
            if not isinstance(found, h5py.Group):
                raise FileFormatError(f"{self.path}: {group}: is an array: expected a group")
            return sorted(found)

    def attribute_names(self, group: str) -> list[str]:
        """Sorted names of a group's attributes (collective)."""
        return sorted(self.attributes(group))

    def has(self, name: str) -> bool:
        """Whether a group or array exists (collective)."""
        with self._together(name):
            return name in self._file.file

    def close(self) -> None:
        """Close the file (collective)."""
        self._file.close()

    def abandon(self) -> None:
        """Let go of the file after a failure; needs no other rank, and closes only what all ranks close."""
        self._failure.let_go(self._file, self._file.close)

    def _array(self, name: str) -> h5py.Dataset:
        found = self._file.file[name]
        if not isinstance(found, h5py.Dataset) or len(found.shape) == 0:
            raise FileFormatError(f"{self.path}: {name}: is not an array")
        # An array that was never written takes no room in the file, but would in memory.
        n_bytes, n_stored = math.prod(found.shape) * found.dtype.itemsize, found.id.get_storage_size()
        if n_stored != n_bytes:
            raise FileFormatError(f"{self.path}: {name}: holds {n_stored} bytes: expected {n_bytes} for {found.shape}")
        return found

    @contextmanager
    def _together(self, what: str) -> Iterator[None]:
        """Let rank-local work fail on all ranks together (collective)."""
        with self._failure.agreed(), _same_errors(self.ctx, self.path, what):
            yield


@contextmanager
def _same_errors(ctx: ParallelContext, path: Path, what: str) -> Iterator[None]:
    """Let the reading of a part of a file fail on all ranks alike (collective)."""
    with collective_errors(ctx, f"reading {path}"), format_errors(path, what):
        yield
