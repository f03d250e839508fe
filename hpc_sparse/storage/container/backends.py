"""Protocol of the back ends ``mpio`` and ``serial``, and the choice between them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Protocol, get_args

import h5py
import numpy as np
import numpy.typing as npt

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import ConfigError, MachineError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container.hdf5 import Attribute

BackendName = Literal["mpio", "serial"]
BackendChoice = Literal["auto", "mpio", "serial"]


class FileWriter(Protocol):
    """A file being written by all ranks; every method but ``is_open`` is collective."""

    def create(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        """Make room for an array (collective)."""

    def write(self, name: str, start: int, rows: AnyArray) -> None:
        """Write each rank's own C-contiguous rows, of which there may be none (collective)."""

    def set_attribute(self, group: str, name: str, value: Attribute | np.uint64) -> None:
        """Set an attribute of a group or array (collective)."""

    def close(self) -> None:
        """Hand everything to the operating system and close the file (collective)."""

    def discard(self) -> None:
        """Close a file that could not be written (collective)."""


class FileReader(Protocol):
    """A file that every rank has open; ``read`` and ``close`` are collective."""

    file: h5py.File

    def status(self) -> os.stat_result:
        """Result of ``fstat`` for the file."""

    def read(self, name: str, start: int, rows: AnyArray, most_rows: int) -> None:
        """Overwrite each rank's ``rows``, at most ``most_rows``, with those at its ``start`` (collective)."""

    def close(self) -> None:
        """Close the file (collective)."""


def choose_backend(ctx: ParallelContext, choice: str) -> BackendName:
    """The back end for ``choice``: "auto" is ``mpio`` where it works and there are several ranks.

    Raises
    ------
    MachineError
        ``mpio`` was asked for, but h5py was built without MPI or no MPI was started.
    """
    if choice not in get_args(BackendChoice):
        raise ConfigError(f'HDF5 back end = "{choice}": expected one of {", ".join(get_args(BackendChoice))}')
    if choice == "auto":
        return "mpio" if has_parallel_hdf5() and ctx.comm is not None and ctx.size > 1 else "serial"
    if choice == "serial":
        return "serial"
    if not has_parallel_hdf5():
        raise MachineError(
            'HDF5 back end = "mpio": this h5py was built without MPI; '
            'build it against parallel HDF5 (tools/setup --dev does), or use "auto" or "serial"'
        )
    if ctx.comm is None:
        raise MachineError('HDF5 back end = "mpio": MPI is not started; start with mpirun, or use "auto" or "serial"')
    return "mpio"


def has_parallel_hdf5() -> bool:
    """Whether h5py can open one file from several ranks."""
    return bool(h5py.get_config().mpi)


def hdf5_description() -> str:
    """Versions of HDF5 and h5py, and whether they can do MPI."""
    parallel = "with MPI" if has_parallel_hdf5() else "without MPI"
    return f"HDF5 {h5py.version.hdf5_version}, h5py {h5py.__version__} {parallel}"


def open_writer(ctx: ParallelContext, path: Path, target: Path, backend: BackendName) -> FileWriter:
    """Open ``path`` for writing, replacing its content; messages name ``target`` (collective)."""
    from hpc_sparse.storage.container import mpio, serial  # noqa: PLC0415  (they import this module's interface)

    return mpio.MpioWriter.start(ctx, path) if backend == "mpio" else serial.SerialWriter.start(ctx, path, target)


def open_reader(ctx: ParallelContext, path: Path, backend: BackendName) -> FileReader:
    """Open ``path`` for reading on every rank (collective)."""
    from hpc_sparse.storage.container import mpio, serial  # noqa: PLC0415  (they import this module's interface)

    return mpio.MpioReader.start(ctx, path) if backend == "mpio" else serial.SerialReader(path)
