"""The ``mpio`` back end: every rank has the file open and all transfer their rows in the same call (parallel HDF5)."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.parallel.collectives import all_gather_counts
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage import hdf5
from hpc_sparse.storage.hdf5 import Attribute


class MpioWriter:
    """A file that all ranks write together."""

    def __init__(self, ctx: ParallelContext, path: Path) -> None:
        self.ctx = ctx
        self.path = path
        self.file = h5py.File(path, "w", driver="mpio", comm=ctx.comm, libver=hdf5.LIBRARY_VERSIONS)

    def create(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        """Make room for an array (collective)."""
        hdf5.create_array(self.file, name, shape, dtype)

    def write(self, name: str, start: int, rows: AnyArray) -> None:
        """Write each rank's own rows, of which there may be none (collective).

        A rank that fails goes on taking part, so that no other is left waiting, and raises at the end.
        """
        dataset = self.file[name]
        chunk = hdf5.rows_per_chunk(dataset)
        most_rows = int(all_gather_counts(self.ctx, rows.shape[0]).max())
        transfer = _collective_transfer()
        failure: Exception | None = None
        for offset in range(0, most_rows, chunk):
            try:
                hdf5.write_rows(dataset, start + offset, rows[offset : offset + chunk], transfer)
            except (OSError, RuntimeError) as error:
                failure = error
        if failure is not None:
            raise failure

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

    def __init__(self, ctx: ParallelContext, path: Path) -> None:
        self.file = h5py.File(path, "r", driver="mpio", comm=ctx.comm)

    def read(self, name: str, start: int, rows: AnyArray, most_rows: int) -> None:
        """Overwrite each rank's ``rows``, at most ``most_rows``, with those at its ``start`` (collective)."""
        dataset = self.file[name]
        chunk = hdf5.rows_per_chunk(dataset)
        transfer = _collective_transfer()
        failure: Exception | None = None
        for offset in range(0, most_rows, chunk):
            try:
                hdf5.read_rows(dataset, start + offset, rows[offset : offset + chunk], transfer)
            except (OSError, RuntimeError) as error:
                failure = error
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Close the file (collective)."""
        self.file.close()


def _collective_transfer() -> h5py.h5p.PropDXID:
    transfer = h5py.h5p.create(h5py.h5p.DATASET_XFER)
    transfer.set_dxpl_mpio(h5py.h5fd.MPIO_COLLECTIVE)
    return transfer
