"""HDF5 operations that both back ends use.

Arrays are contiguous and uncompressed, strings have a fixed length, and the metadata carry checksums. Damage is
therefore noticed, and parallel HDF5 can write everything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import FileFormatError, OutputError, quoted

CHUNK_BYTES = 1024 * 1024 * 1024
"""The most that one HDF5 call transfers (MPI-IO counts in 31 bits); tests and --debug make it tiny."""

LIBRARY_VERSIONS = ("v110", "v110")
"""Readable from HDF5 1.10 on; older layouts have no metadata checksums."""

Attribute: TypeAlias = int | float | str

HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)
"""Errors that h5py raises for a malformed file, depending on the part that is malformed."""


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn a failure to write ``path`` into an :class:`OutputError`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # HDF5's own text has addresses and a time in it.
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise OutputError(f"{path}: cannot be written: {reason}") from error


@contextmanager
def format_errors(path: Path, what: str) -> Iterator[None]:
    """Turn a failure to read ``what`` from ``path`` into a :class:`FileFormatError`."""
    try:
        yield
    except HDF5_ERRORS as error:
        raise FileFormatError(f"{path}: cannot read {what}: missing or damaged ({quoted(str(error))})") from error


def create_array(file: h5py.File, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    """Make room for an array; bytes (``S``) are declared as UTF-8 text."""
    stored = np.dtype(dtype)
    if stored.kind == "S":
        stored = h5py.string_dtype("utf-8", stored.itemsize)
    file.create_dataset(name, shape=shape, dtype=stored, fill_time="never")


def set_attribute(file: h5py.File, group: str, name: str, value: Attribute | np.uint64) -> None:
    """Set an attribute of a group or array; a missing group is made."""
    owner = file[group] if group in file else file.create_group(group)
    if isinstance(value, str):
        encoded = value.encode()
        owner.attrs.create(name, encoded, dtype=h5py.string_dtype("utf-8", max(1, len(encoded))))
    else:
        owner.attrs[name] = value


def get_attribute(file: h5py.File, group: str, name: str) -> Attribute:
    """An attribute as a Python number or string."""
    value = file[group].attrs[name]
    plain: Attribute = value.decode() if isinstance(value, bytes) else value if isinstance(value, str) else value.item()
    return plain


def discard(file: h5py.File, path: Path) -> None:
    """Close a file that could not be written, without writing it.

    HDF5 does not survive a failing close: nothing may be left to write, neither arrays nor, on a
    full disk, the room that they took.
    """
    for name in list(file):
        del file[name]
    with suppress(FileNotFoundError):
        os.truncate(path, 0)
    file.close()


def write_rows(dataset: h5py.Dataset, start: int, rows: AnyArray, transfer: h5py.h5p.PropDXID | None = None) -> None:
    """Write the C-contiguous ``rows`` at row ``start``; no rows select nothing but still take part."""
    memory, file = _selections(dataset, start, rows.shape[0])
    dataset.id.write(memory, file, rows, dataset.id.get_type(), dxpl=transfer)


def read_rows(dataset: h5py.Dataset, start: int, rows: AnyArray, transfer: h5py.h5p.PropDXID | None = None) -> None:
    """Overwrite the C-contiguous ``rows`` with those at row ``start``; no rows select nothing but still take part."""
    memory, file = _selections(dataset, start, rows.shape[0])
    dataset.id.read(memory, file, rows, dataset.id.get_type(), dxpl=transfer)


def rows_per_chunk(array: AnyArray | h5py.Dataset) -> int:
    """Number of rows of an array that one call may transfer."""
    row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    return max(1, CHUNK_BYTES // max(1, row_bytes))


def _selections(dataset: h5py.Dataset, start: int, n_rows: int) -> tuple[h5py.h5s.SpaceID, h5py.h5s.SpaceID]:
    file = dataset.id.get_space()
    if n_rows == 0:
        memory = h5py.h5s.create_simple((1,))
        memory.select_none()
        file.select_none()
        return memory, file
    block = (n_rows, *dataset.shape[1:])
    file.select_hyperslab((start, *(0 for _ in block[1:])), block)
    return h5py.h5s.create_simple(block), file
