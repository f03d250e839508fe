"""HDF5 files of other programs: an array, or a group of compressed sparse rows, and labels, each given by its path.

A group of sparse rows has arrays ``indptr``, ``indices`` and ``data``, and an attribute or array ``shape``. AnnData and
users of SciPy write such groups. Labels may be a group of categories and codes, as AnnData's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import AnyArray, BoolArray
from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays import annotated
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
    drop_missing: bool = False,
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
    drop_missing : bool
        Whether samples without a category are left out; else they are refused.
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
        parts = [_part(file, *pair, transposed=transposed, drop_missing=drop_missing) for pair in pairs]
        genes = annotated.feature_names(file, pairs[0][0], parts[0].features.n_features)
        arrays = ArraySource(str(path), parts, described(path.name, pairs) + _dropped(parts), genes)
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


def _part(file: ForeignFile, x_name: str, y_name: str, *, transposed: bool, drop_missing: bool) -> ArrayPart:
    item, where = file.item(x_name), f"{file.path}: {x_name}"
    labels, is_kept = _labels(f"{file.path}: {y_name}", file.item(y_name), drop_missing=drop_missing)
    matrix: Matrix
    if isinstance(item, ForeignGroup):
        matrix = _sparse_rows(where, item, labels)
    else:
        matrix = _StoredRows(where, item, transposed=transposed)
    return ArrayPart(matrix, labels, is_kept)


def _labels(where: str, item: ForeignArray | ForeignGroup, *, drop_missing: bool) -> tuple[AnyArray, BoolArray | None]:
    """Labels, and which samples have one (None: all)."""
    if isinstance(item, ForeignArray):
        return item.all(), None
    if any(name not in item.members for name in annotated.CATEGORICAL):
        raise DataError(f"{where}: is a group: expected an array of labels, or categories and codes")
    return annotated.labels_of_categories(where, item, drop_missing=drop_missing)


def _dropped(parts: Sequence[ArrayPart]) -> str:
    n_dropped = sum(part.labels.size - int(part.is_kept.sum()) for part in parts if part.is_kept is not None)
    return f"; without a category: {n_dropped} left out" if n_dropped else ""


def _sparse_rows(where: str, group: ForeignGroup, labels: AnyArray) -> CsrRows:
    missing = [name for name in SPARSE_ARRAYS if name not in group.members]
    if missing:
        raise DataError(
            f"{where}: is a group without {', '.join(missing)}: expected an array, or sparse rows of "
            f"{', '.join(SPARSE_ARRAYS)}"
        )
    indptr, shape = group.array("indptr").all(), group.shape
    if shape is None and "shape" in group.members:
        shape = _stored_shape(where, group.array("shape").all())
    is_by_columns = group.encoding == "csc_matrix"
    if shape is None or len(shape) != 2 or shape[is_by_columns] != indptr.size - 1 or min(shape) < 0:
        expected = f"[n_samples, {indptr.size - 1}]" if is_by_columns else f"[{indptr.size - 1}, n_features]"
        raise DataError(f"{where}: shape = {shape}: expected {expected}")
    if is_by_columns:
        return annotated.rows_of_columns(where, group, shape, labels)
    return CsrRows(where, indptr, group.array("indices"), group.array("data"), shape[1])


def _stored_shape(where: str, shape: AnyArray) -> tuple[int, ...]:
    lengths = shape.reshape(-1)
    # MATLAB stores whole numbers as doubles, and a row as a matrix.
    if lengths.dtype.kind not in "iuf" or not np.isfinite(lengths).all() or (lengths % 1).any():
        raise DataError(f"{where}: shape: {shape.dtype}{list(shape.shape)}: expected two whole numbers")
    return tuple(map(int, lengths.tolist()))
