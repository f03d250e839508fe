"""The ``mpio`` back end: every rank has the file open and all transfer their rows in the same call (parallel HDF5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.parallel.collectives import collective_errors
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container import hdf5
from hpc_sparse.storage.container.hdf5 import Attribute, format_errors


class MpioWriter:
    """A file that all ranks write together; a method that fails on one rank need not fail on the others.

    Each method makes HDF5's collective calls and no others.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self.file = path, file
        self._arrays: dict[str, h5py.Dataset] = {}
        self._transfer = _collective_transfer()

    @classmethod
    def start(cls, ctx: ParallelContext, path: Path) -> MpioWriter:
        """A new file, in place of what is there (collective)."""
        return cls(path, h5py.File(path, "w", driver="mpio", comm=ctx.comm, libver=hdf5.LIBRARY_VERSIONS))

    def create(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        """Make room for an array (collective)."""
        hdf5.create_array(self.file, name, shape, dtype)
        self._arrays[name] = self.file[name]

    def write(self, name: str, start: int, rows: AnyArray) -> None:
        """Write each rank's own rows, at most one chunk and perhaps none, in one call (collective).

        Nothing is looked up here: a rank that failed to would leave the others waiting in that call.
        """
        hdf5.write_rows(self._arrays[name], start, rows, self._transfer)

    def set_attribute(self, group: str, name: str, value: Attribute | np.uint64) -> None:
        """Set an attribute of a group or array (collective)."""
        hdf5.set_attribute(self.file, group, name, value)

    def close(self) -> None:
        """Flush and close the file (collective)."""
        self.file.flush()
        self.file.close()

    def discard(self) -> None:
        """Close a file that could not be written (collective)."""
        hdf5.discard(self.file, self.path)


class MpioReader:
    """A file that all ranks read together."""

    def __init__(self, ctx: ParallelContext, path: Path, file: h5py.File) -> None:
        self.ctx, self.path, self.file = ctx, path, file

    @classmethod
    def start(cls, ctx: ParallelContext, path: Path) -> MpioReader:
        """An existing file (collective)."""
        return cls(ctx, path, h5py.File(path, "r", driver="mpio", comm=ctx.comm))

    def status(self) -> os.stat_result:
        """Result of ``stat`` for the file of this name: MPI does not tell which one it has open."""
        return self.path.stat()

    def read(self, name: str, start: int, rows: AnyArray, most_rows: int) -> None:
        """Overwrite each rank's ``rows``, at most ``most_rows``, with those at its ``start`` (collective).

        A failure on one rank is raised on all.
        """
        with self._together(name):
            dataset = self.file[name]
            chunk = hdf5.rows_per_chunk(dataset)
            transfer = _collective_transfer()
        for offset in range(0, most_rows, chunk):
            # HDF5's collective call cannot be kept out of the guard: it is what may fail.
            with self._together(name):
                hdf5.read_rows(dataset, start + offset, rows[offset : offset + chunk], transfer)

    def close(self) -> None:
        """Close the file (collective)."""
        self.file.close()

    @contextmanager
    def _together(self, what: str) -> Iterator[None]:
        with collective_errors(self.ctx, f"reading {self.path}"), format_errors(self.path, what):
            yield


def _collective_transfer() -> h5py.h5p.PropDXID:
    transfer = h5py.h5p.create(h5py.h5p.DATASET_XFER)
    transfer.set_dxpl_mpio(h5py.h5fd.MPIO_COLLECTIVE)
    return transfer
