"""The ``serial`` back end: root writes what the others send; for reading every rank opens the file itself."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.parallel.collectives import gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.transfer import receive_array, send_array
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.storage.container import hdf5
from hpc_sparse.storage.container.hdf5 import Attribute, output_errors


class SerialWriter:
    """A file that root alone has open; messages name ``target``, what it will be called."""

    def __init__(self, ctx: ParallelContext, path: Path, target: Path) -> None:
        self.ctx = ctx
        self.path = path
        self.target = target
        self._file: h5py.File | None = None

    @classmethod
    def start(cls, ctx: ParallelContext, path: Path, target: Path) -> SerialWriter:
        """A new file, in place of what is there (collective)."""
        writer = cls(ctx, path, target)
        on_root(ctx, writer._open)
        return writer

    def create(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        """Make room for an array (collective)."""

        def create_on_root() -> None:
            with output_errors(self.target):
                hdf5.create_array(self.file, name, shape, dtype)

        on_root(self.ctx, create_on_root)

    def write(self, name: str, start: int, rows: AnyArray) -> None:
        """Write each rank's own rows, of which there may be none (collective).

        A failing root goes on receiving, so that no sender is left waiting, and raises at the end.
        """
        blocks = gather_objects(self.ctx, (start, rows.shape))
        failure: Exception | None = None
        if self.ctx.is_root:
            for sender, (block_start, shape) in enumerate(blocks):
                failure = self._write_block(name, block_start, shape, rows, sender, failure)
        else:
            for first, last in chunk_ranges(0, rows.shape[0], hdf5.rows_per_chunk(rows)):
                send_array(self.ctx, rows[first:last], destination=0)
        on_root(self.ctx, lambda: _raise_if(failure))

    def set_attribute(self, group: str, name: str, value: Attribute | np.uint64) -> None:
        """Set an attribute of a group or array (collective)."""

        def set_on_root() -> None:
            with output_errors(self.target):
                hdf5.set_attribute(self.file, group, name, value)

        on_root(self.ctx, set_on_root)

    def close(self) -> None:
        """Flush and close the file (collective)."""
        on_root(self.ctx, self._close)

    def discard(self) -> None:
        """Close a file that could not be written (collective)."""
        if self._file is not None:
            hdf5.discard(self._file, self.path)

    @property
    def file(self) -> h5py.File:
        """The open file, on root."""
        assert self._file is not None, "the file is open on root only"
        return self._file

    def _open(self) -> None:
        with output_errors(self.target):
            self._file = h5py.File(self.path, "w", libver=hdf5.LIBRARY_VERSIONS, locking=False)

    def _close(self) -> None:
        with output_errors(self.target):
            self.file.close()

    def _write_block(
        self,
        name: str,
        start: int,
        shape: tuple[int, ...],
        own_rows: AnyArray,
        sender: int,
        failure: Exception | None,
    ) -> Exception | None:
        for first, last in chunk_ranges(0, shape[0], hdf5.rows_per_chunk(own_rows)):
            if sender == self.ctx.rank:
                rows = own_rows[first:last]
            else:
                rows = np.empty((last - first, *shape[1:]), own_rows.dtype)
                receive_array(self.ctx, rows, sender)
            if failure is None:
                failure = self._try_to_write(name, start + first, rows)
        return failure

    def _try_to_write(self, name: str, start: int, rows: AnyArray) -> Exception | None:
        try:
            with output_errors(self.target):
                hdf5.write_rows(self.file[name], start, rows)
        except Exception as error:  # noqa: BLE001  (raised on every rank once all rows have arrived)
            return error
        return None


class SerialReader:
    """A file that every rank reads on its own."""

    def __init__(self, path: Path) -> None:
        self.file = h5py.File(path, "r", locking=False)

    def status(self) -> os.stat_result:
        """Result of ``fstat`` for the open file."""
        return os.fstat(self.file.id.get_vfd_handle())

    def read(self, name: str, start: int, rows: AnyArray, most_rows: int) -> None:  # noqa: ARG002  (mpio needs it)
        """Overwrite this rank's ``rows`` with those at its ``start``."""
        dataset = self.file[name]
        for first, last in chunk_ranges(0, rows.shape[0], hdf5.rows_per_chunk(rows)):
            hdf5.read_rows(dataset, start + first, rows[first:last])

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def _raise_if(failure: Exception | None) -> None:
    if failure is not None:
        raise failure
