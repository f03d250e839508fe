"""HDF5 files of other programs: an array, or a group of compressed sparse rows, and labels, each given by its path.

A group of sparse rows has arrays ``indptr``, ``indices`` and ``data`` and says its shape in an attribute or array
``shape`` (as AnnData and SciPy users write it).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays.names import ArrayNames, described
from hpc_sparse.importers.arrays.rows import ArrayPart, ArraySource, CsrRows, DenseRows, Matrix
from hpc_sparse.importers.features import dense_features
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.source import CHUNK_BYTES
from hpc_sparse.importers.streamed import import_streamed
from hpc_sparse.importers.text_files import reason
from hpc_sparse.storage.container.hdf5 import HDF5_ERRORS
from hpc_sparse.storage.dataset.samples import DatasetInfo, Features

MOST_LISTED_OBJECTS = 1000
MOST_ALIGNED = 8
"""How many times the usual size of a chunk is read at once so that no chunk of the file is read twice."""

SPARSE_ARRAYS = ("indptr", "indices", "data")


def import_hdf5(
    source: Path | str,
    target: Path | str,
    *,
    names: ArrayNames | None = None,
    transposed: bool = False,
    options: ImportOptions | None = None,
) -> DatasetInfo:
    """Import arrays of a file, which is read piece by piece.

    Parameters
    ----------
    source, target : path
    names : ArrayNames, optional
        Paths within the file: samples x features, and labels. By default arrays with usual names, such as ``X`` and
        ``y``; some of the samples are taken for testing.
    transposed : bool
        Whether dense arrays are features x samples, as MATLAB 7.3 stores them.
    options : ImportOptions, optional

    Raises
    ------
    DataError
        The file is not HDF5 or damaged, has no such arrays, or they do not fit.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    path = Path(source)
    with _opened(path) as file:
        with _reading(str(path)):
            pairs = (names or ArrayNames()).chosen(str(path), _arrays(file), lambda name: name in file)
            parts = [_part(path, file, *pair, transposed=transposed) for pair in pairs]
        arrays = ArraySource(str(path), parts, described(path.name, pairs))
        return import_streamed(arrays, target, path.stem, options or ImportOptions())


class _StoredRows(DenseRows):
    """The rows of an array in a file, of either orientation; in whole chunks of it where they are small."""

    def __init__(self, where: str, stored: h5py.Dataset, *, transposed: bool) -> None:
        super().__init__(where, stored)
        self._stored, self._transposed = stored, transposed
        if transposed:
            if stored.ndim != 2:
                raise DataError(f"{where}: shape {list(stored.shape)}: expected features x samples")
            self.n_features, self.n_rows = (int(length) for length in stored.shape)
            self.rows_per_chunk = max(1, CHUNK_BYTES // max(1, self.n_features * stored.dtype.itemsize))
        chunk_rows = int(stored.chunks[1 if transposed else 0]) if stored.chunks else 1
        if chunk_rows <= MOST_ALIGNED * self.rows_per_chunk:
            self.rows_per_chunk = -(-self.rows_per_chunk // chunk_rows) * chunk_rows

    def rows(self, start: int, stop: int) -> Features:
        """Some rows, as bytes or float32."""
        with _reading(f"{self.where}: rows {start} to {stop - 1}"):
            piece = self._stored[:, start:stop].T if self._transposed else self._stored[start:stop]
        return dense_features(self.where, piece, first_row=start)


class _StoredCsrRows(CsrRows):
    """Compressed sparse rows whose arrays are in a file."""

    def rows(self, start: int, stop: int) -> Features:
        """Some rows, sorted, without duplicates and zeros."""
        with _reading(f"{self.where}: rows {start} to {stop - 1}"):
            return super().rows(start, stop)


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except HDF5_ERRORS as error:
        raise DataError(f"{what}: cannot be read: {reason(error)}") from error


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    if not path.is_file():
        raise DataError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
    with _reading(f"{path}: as an HDF5 file"):
        file = h5py.File(path, "r", locking=False)
    with file:
        yield file


def _arrays(file: h5py.File) -> dict[str, str]:
    """What may be meant: type and shape of each array, and of each group of sparse rows instead of its arrays."""
    found: dict[str, str] = {}

    def note(name: str, item: Any) -> bool | None:
        parent = name.rpartition("/")[0]
        if isinstance(item, h5py.Group) and all(part in item for part in SPARSE_ARRAYS):
            found[name] = "(sparse rows)"
        elif isinstance(item, h5py.Dataset) and found.get(parent) != "(sparse rows)":
            found[name] = f"{item.dtype}{list(item.shape or ())}"
        return True if len(found) >= MOST_LISTED_OBJECTS else None

    file.visititems(note)
    return found


def _part(path: Path, file: h5py.File, x_name: str, y_name: str, *, transposed: bool) -> ArrayPart:
    item = file[x_name]
    matrix: Matrix
    if isinstance(item, h5py.Group):
        matrix = _sparse_rows(f"{path}: {x_name}", item)
    else:
        matrix = _StoredRows(f"{path}: {x_name}", item, transposed=transposed)
    return ArrayPart(matrix, _labels(f"{path}: {y_name}", file[y_name]))


def _sparse_rows(where: str, group: h5py.Group) -> _StoredCsrRows:
    missing = [name for name in SPARSE_ARRAYS if name not in group]
    if missing:
        raise DataError(
            f"{where}: is a group without {', '.join(missing)}: expected an array, or sparse rows of "
            f"{', '.join(SPARSE_ARRAYS)}"
        )
    if str(group.attrs.get("encoding-type", "csr_matrix")) == "csc_matrix":
        raise DataError(f"{where}: holds compressed sparse columns: expected rows")
    shape = group.attrs["shape"] if "shape" in group.attrs else group["shape"][:] if "shape" in group else None
    if shape is None or len(shape) != 2 or int(shape[0]) != group["indptr"].size - 1:
        raise DataError(f"{where}: shape = {shape}: expected [{group['indptr'].size - 1}, n_features]")
    return _StoredCsrRows(where, group["indptr"][:], group["indices"], group["data"], int(shape[1]))


def _labels(where: str, item: Any) -> AnyArray:
    if not isinstance(item, h5py.Dataset):
        raise DataError(f"{where}: is a group: expected an array of labels")
    if h5py.check_string_dtype(item.dtype) is not None:
        return np.asarray(item.asstr()[...]).astype(np.str_)
    labels: AnyArray = item[...]
    return labels
