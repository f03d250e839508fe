"""HDF5 files of other programs: an array, or a group of compressed sparse rows, and labels, each given by its path.

A group of sparse rows has arrays ``indptr``, ``indices`` and ``data``, and an attribute or array ``shape``. AnnData and
users of SciPy write such groups.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays.foreign_file import ForeignArray, ForeignFile, ForeignGroup
from hpc_sparse.importers.arrays.names import ArrayNames, described
from hpc_sparse.importers.arrays.rows import ArrayPart, ArraySource, CsrRows, DenseRows, Matrix
from hpc_sparse.importers.features import dense_features
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.source import CHUNK_BYTES
from hpc_sparse.importers.streamed import import_streamed
from hpc_sparse.storage.dataset.samples import DatasetInfo, Features

MOST_ALIGNED = 8
"""Largest read that is aligned to the file's own chunks, in units of CHUNK_BYTES; then no chunk is read twice."""

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
    with ForeignFile(path) as file:
        pairs = (names or ArrayNames()).chosen(str(path), file.arrays(), file.has)
        parts = [_part(file, *pair, transposed=transposed) for pair in pairs]
        arrays = ArraySource(str(path), parts, described(path.name, pairs))
        return import_streamed(arrays, target, path.stem, options or ImportOptions())


class _StoredRows(DenseRows):
    """The rows of an array in a file, of either orientation; in whole chunks of it where they are small."""

    def __init__(self, where: str, stored: ForeignArray, *, transposed: bool) -> None:
        super().__init__(where, stored)
        self._stored, self._transposed = stored, transposed
        if transposed:
            if stored.ndim != 2:
                raise DataError(f"{where}: shape {list(stored.shape)}: expected features x samples")
            self.n_features, self.n_rows = stored.shape
            self.rows_per_chunk = max(1, CHUNK_BYTES // max(1, self.n_features * stored.dtype.itemsize))
        chunk_rows = stored.chunks[1 if transposed else 0] if stored.chunks else 1
        if chunk_rows <= MOST_ALIGNED * self.rows_per_chunk:
            self.rows_per_chunk = -(-self.rows_per_chunk // chunk_rows) * chunk_rows

    def rows(self, start: int, stop: int) -> Features:
        """Some rows, as bytes or float32."""
        piece = self._stored.read(start, stop, axis=1).T if self._transposed else self._stored.read(start, stop)
        return dense_features(self.where, piece, first_row=start)


def _part(file: ForeignFile, x_name: str, y_name: str, *, transposed: bool) -> ArrayPart:
    item, where = file.item(x_name), f"{file.path}: {x_name}"
    matrix: Matrix
    if isinstance(item, ForeignGroup):
        matrix = _sparse_rows(where, item)
    else:
        matrix = _StoredRows(where, item, transposed=transposed)
    return ArrayPart(matrix, _labels(f"{file.path}: {y_name}", file.item(y_name)))


def _sparse_rows(where: str, group: ForeignGroup) -> CsrRows:
    missing = [name for name in SPARSE_ARRAYS if name not in group.members]
    if missing:
        raise DataError(
            f"{where}: is a group without {', '.join(missing)}: expected an array, or sparse rows of "
            f"{', '.join(SPARSE_ARRAYS)}"
        )
    if group.encoding == "csc_matrix":
        raise DataError(f"{where}: holds compressed sparse columns: expected rows")
    indptr, shape = group.array("indptr").all(), group.shape
    if shape is None and "shape" in group.members:
        shape = _stored_shape(where, group.array("shape").all())
    if shape is None or len(shape) != 2 or shape[0] != indptr.size - 1 or shape[1] < 0:
        raise DataError(f"{where}: shape = {shape}: expected [{indptr.size - 1}, n_features]")
    return CsrRows(where, indptr, group.array("indices"), group.array("data"), shape[1])


def _stored_shape(where: str, shape: AnyArray) -> tuple[int, ...]:
    lengths = shape.reshape(-1)
    # MATLAB stores whole numbers as doubles, and a row as a matrix.
    if lengths.dtype.kind not in "iuf" or not np.isfinite(lengths).all() or (lengths % 1).any():
        raise DataError(f"{where}: shape: {shape.dtype}{list(shape.shape)}: expected two whole numbers")
    return tuple(map(int, lengths.tolist()))


def _labels(where: str, item: ForeignArray | ForeignGroup) -> AnyArray:
    if isinstance(item, ForeignGroup):
        raise DataError(f"{where}: is a group: expected an array of labels")
    return item.all()
