"""Writing the arrays and attributes of a container, each rank its own rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.kernels.digest import MODULUS
from hpc_sparse.parallel.collectives import all_gather_counts, all_reduce_sum, collective_errors
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container.backends import BackendName, FileWriter, open_writer
from hpc_sparse.storage.container.failure import ContainerFailure
from hpc_sparse.storage.container.hdf5 import Attribute, output_errors, rows_per_chunk
from hpc_sparse.storage.container.reservation import BYTES_PER_ARRAY, METADATA_BYTES, Reservation
from hpc_sparse.storage.container.word_sum import WORD_SUM, word_sum


class ContainerWriter:
    """A container while it is being written; made by :func:`~hpc_sparse.storage.container.file.create_container`.

    All ranks call each method, in the same order and with the same names, shapes and dtypes.
    """

    def __init__(self, ctx: ParallelContext, path: Path, temporary: Path, backend: BackendName) -> None:
        self.ctx = ctx
        self.path = path
        self.temporary = temporary
        self.backend = backend
        self._file: FileWriter | None = None
        self._layout: dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]] = {}
        self._sums: dict[str, int] = {}
        self._failure = ContainerFailure(ctx)
        self._reservation = Reservation(temporary)

    def open(self) -> None:
        """Open the file (collective)."""
        # Without room for this much, HDF5 could not even close the file again.
        self._reserve(METADATA_BYTES)
        with self._transferring("opening"):
            self._file = open_writer(self.ctx, self.temporary, self.path, self.backend)
        self._reservation = Reservation(self.temporary)
        self._reserve(METADATA_BYTES)

    def create(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        """Make room for the array ``name`` (collective)."""
        self._reserve(math.prod(shape) * np.dtype(dtype).itemsize + BYTES_PER_ARRAY)
        with self._transferring(f"creating {name}"):
            self._opened.create(name, shape, dtype)
        self._layout[name] = (shape, np.dtype(dtype))
        self._sums[name] = 0

    def write(self, name: str, start: int, array: AnyArray) -> None:
        """Write this rank's block of rows of the array ``name`` (collective).

        Parameters
        ----------
        name : str
            An array that was created.
        start : int
            Row of the first one; the ranks' blocks must not overlap.
        array : (n_rows, ...)
            As created but for the number of rows, which may be 0, and for a narrower integer type.
        """
        with self._together(f"writing {name}"):
            self._check_rows(name, start, array)
            rows = np.ascontiguousarray(array)
        most_rows = int(all_gather_counts(self.ctx, rows.shape[0]).max())
        dtype = self._layout[name][1]
        chunk = rows_per_chunk(np.empty((0, *rows.shape[1:]), dtype))  # the same on every rank
        for offset in range(0, most_rows, chunk):
            part = rows[offset : offset + chunk].astype(dtype, copy=False)
            with self._transferring(f"writing {name}"):
                self._opened.write(name, start + offset, part)
            self._sums[name] += int(word_sum(part, start + offset))

    def write_replicated(self, name: str, array: AnyArray) -> None:
        """Create the array ``name``, which every rank holds whole, and write it from root (collective)."""
        self.create(name, array.shape, array.dtype)
        self.write(name, 0, array if self.ctx.is_root else array[:0])

    def set_attribute(self, group: str, name: str, value: Attribute | np.uint64) -> None:
        """Set an attribute of a group or array; a missing group is made (collective)."""
        with self._transferring(f"setting {group} {name}"):
            self._opened.set_attribute(group, name, value)

    def finish(self) -> None:
        """Add the sums and close (collective)."""
        sums = np.array([total % MODULUS for total in self._sums.values()], np.uint64)
        all_reduce_sum(self.ctx, sums)
        for name, total in zip(self._sums, sums, strict=True):
            self.set_attribute(name, WORD_SUM, total)
        with self._transferring("closing"):
            self._opened.close()
        self._file = None
        with self._together("closing"):
            if self.ctx.is_root:
                self._reservation.give_back()

    def abandon(self) -> None:
        """Remove the unfinished file; needs no other rank, and closes only what all ranks close."""
        if self._file is not None:
            self._failure.let_go(self._file, self._file.discard)
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)

    @property
    def _opened(self) -> FileWriter:
        assert self._file is not None, "the container is not open"
        return self._file

    def _check_rows(self, name: str, start: int, array: AnyArray) -> None:
        shape, dtype = self._layout[name]
        assert np.can_cast(array.dtype, dtype), f"{name}: {array.dtype}, created as {dtype}"
        assert array.dtype.kind == dtype.kind, f"{name}: {array.dtype}, created as {dtype}"
        assert array.shape[1:] == shape[1:], f"{name}: rows of {array.shape[1:]}, created as {shape[1:]}"
        assert 0 <= start <= start + array.shape[0] <= shape[0], f"{name}: rows from {start} do not fit into {shape}"

    def _reserve(self, n_bytes: int) -> None:
        """Take room on disk for what comes next (collective)."""
        with self._together("reserving room"):
            if self.ctx.is_root:
                self._reservation.grow(n_bytes)

    @contextmanager
    def _together(self, doing: str) -> Iterator[None]:
        """Let rank-local work fail on all ranks together (collective)."""
        with self._failure.agreed(), collective_errors(self.ctx, f"{doing} ({self.path})"), output_errors(self.path):
            yield

    @contextmanager
    def _transferring(self, doing: str) -> Iterator[None]:
        """Let a call of the back end fail on all ranks together (collective).

        ``serial`` sees to that itself. With ``mpio`` the guard has HDF5's own collective calls in it, and cannot do
        without: they are what may fail.
        """
        if self.backend == "mpio":
            with self._together(doing):
                yield
        else:
            with self._failure.agreed():
                yield
