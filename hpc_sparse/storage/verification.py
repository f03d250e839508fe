"""Reading a whole file once, piece by piece, to find out whether it is intact."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from hpc_sparse.errors import FileFormatError
from hpc_sparse.kernels.digest import MODULUS
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.container.file import check_container, container_kind, open_plain
from hpc_sparse.storage.container.hdf5 import format_errors, get_attribute, read_rows
from hpc_sparse.storage.container.word_sum import PLAIN_WORD_SUM, WORD_SUM, plain_word_sum, word_sum

PIECE_BYTES = 64 * 1024 * 1024
"""Read at a time."""


def verify_checkpoint(path: Path) -> None:
    """Check that a checkpoint's structure makes sense and that every array is what was written; needs no MPI.

    Raises
    ------
    NewerFormatError
        A later version wrote it, which says nothing about its state.
    DataError, FileFormatError
        It is missing, truncated, damaged or something else.
    """
    read_checkpoint_info(path)
    verify_container(path)


def verify_container(path: Path) -> None:
    """Check that every array of a container is what was written; errors as of :func:`verify_checkpoint`."""
    check_container(path, container_kind(path))
    with open_plain(path) as file, format_errors(path, "the file"):
        for name in array_names(file):
            with format_errors(path, name):
                _verify_array(path, name, file[name])


def array_names(file: h5py.File) -> list[str]:
    """Names of all arrays, whatever groups they are in; links are not followed."""
    names: list[str] = []

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)

    file.visititems(collect)
    return names


def checksum_name(path: Path) -> str:
    """The kind of checksum that the arrays of a container carry, by the name of its attribute."""
    with open_plain(path) as file, format_errors(path, "checksums"):
        kinds = {WORD_SUM if WORD_SUM in file[name].attrs else PLAIN_WORD_SUM for name in array_names(file)}
    return ", ".join(sorted(kinds))


def _verify_array(path: Path, name: str, array: h5py.Dataset) -> None:
    sum_name = WORD_SUM if WORD_SUM in array.attrs else PLAIN_WORD_SUM
    expected = get_attribute(array.file, name, sum_name)
    row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    total = 0
    for start, stop in chunk_ranges(0, array.shape[0], max(1, PIECE_BYTES // max(1, row_bytes))):
        rows = np.empty((stop - start, *array.shape[1:]), array.dtype)
        read_rows(array, start, rows)
        total += int(word_sum(rows, start) if sum_name == WORD_SUM else plain_word_sum(rows))
    if total % MODULUS != expected:
        raise FileFormatError(f"{path}: {name}: damaged: its content does not add up to its {sum_name}")
