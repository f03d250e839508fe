"""Sources that are arrays: a matrix X and labels y, in memory or in a file that is read row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse

from hpc_sparse.dtypes import AnyArray, BoolArray
from hpc_sparse.errors import DataError
from hpc_sparse.importers.features import check_csr_arrays, csr_features, dense_features, rows_where, without_zeros
from hpc_sparse.importers.labels import LabelCollector
from hpc_sparse.importers.source import CHUNK_BYTES, Chunk, FeatureSpace, check_n_labels
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.storage.dataset.samples import Features


class Matrix(Protocol):
    """Rows that can be had in any contiguous piece."""

    where: str
    n_rows: int
    n_features: int
    is_sparse: bool
    rows_per_chunk: int

    def rows(self, start: int, stop: int) -> Features:
        """Some rows, checked."""


class RowArray(Protocol):
    """An array of which rows are had by a slice, wherever it is kept."""

    @property
    def ndim(self) -> int:
        """Number of axes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its elements."""

    def __getitem__(self, rows: slice, /) -> AnyArray:
        """Some rows."""


class DenseRows:
    """The rows of an array (samples x any axes) that NumPy can slice, wherever it is kept."""

    is_sparse = False

    def __init__(self, where: str, array: RowArray) -> None:
        if array.ndim < 2:
            raise DataError(f"{where}: shape {list(array.shape)}: expected samples x features")
        self.where, self._array = where, array
        self.n_rows = int(array.shape[0])
        self.n_features = int(np.prod(array.shape[1:], dtype=np.int64))
        self.rows_per_chunk = max(1, CHUNK_BYTES // max(1, self.n_features * array.dtype.itemsize))

    def rows(self, start: int, stop: int) -> Features:
        """Some rows, as bytes or float32."""
        return dense_features(self.where, np.asarray(self._array[start:stop]), first_row=start)


class CsrRows:
    """The rows of compressed sparse rows, whose arrays may be kept anywhere but for ``indptr``."""

    is_sparse = True

    def __init__(self, where: str, indptr: AnyArray, indices: RowArray, data: RowArray | None, n_features: int) -> None:
        check_csr_arrays(where, indptr, indices, data)
        self.where, self._indptr, self._indices, self._data = where, indptr, indices, data
        self.n_rows, self.n_features = int(indptr.size) - 1, n_features
        n_stored = int(indices.shape[0])
        if indptr.size < 1 or int(indptr[0]) != 0 or int(indptr[-1]) != n_stored:
            raise DataError(f"{where}: indptr: expected row starts from 0 to {n_stored}, the length of indices")
        if (np.diff(indptr.astype(np.int64)) < 0).any():
            raise DataError(f"{where}: indptr: falls: expected row starts that never do")
        self.rows_per_chunk = max(1, CHUNK_BYTES * self.n_rows // max(1, n_stored * 16))

    def rows(self, start: int, stop: int) -> Features:
        """Some rows, sorted, without duplicates and zeros."""
        first, last = int(self._indptr[start]), int(self._indptr[stop])
        data = None if self._data is None else np.asarray(self._data[first:last])
        indptr = self._indptr[start : stop + 1].astype(np.int64) - first
        indices = np.asarray(self._indices[first:last])
        where = f"{self.where}: rows {start} to {stop - 1}"
        return without_zeros(csr_features(where, indptr, indices, data, (stop - start, self.n_features)))


@dataclass(frozen=True)
class ArrayPart:
    """Features and labels of one set of samples, and which of them are in use (None: all)."""

    features: Matrix
    labels: AnyArray
    is_kept: BoolArray | None = None


class ArraySource:
    """One or two sets of samples in arrays."""

    def __init__(
        self, where: str, parts: Sequence[ArrayPart], described: str, names: Sequence[str] | None = None
    ) -> None:
        self._names = names
        self.where, self.n_parts, self._parts, self._described = where, len(parts), parts, described
        self.labels = LabelCollector(where)
        for part in parts:
            check_n_labels(part.features.where, part.features.n_rows, part.labels)
        widths = {(part.features.n_features, part.features.is_sparse) for part in parts}
        if len(widths) > 1:
            raise DataError(
                f"{where}: {parts[0].features.n_features} features for training, {parts[1].features.n_features} for "
                "testing: expected as many, all dense or all sparse"
            )

    def chunks(self, part: int) -> Iterator[Chunk]:
        """All samples of a set, in order."""
        features, labels = self._parts[part].features, self._parts[part].labels.reshape(-1)
        is_kept = self._parts[part].is_kept
        for start, stop in chunk_ranges(0, features.n_rows, features.rows_per_chunk):
            rows, found = features.rows(start, stop), labels[start:stop]
            if is_kept is not None:
                rows, found = rows_where(rows, is_kept[start:stop]), found[is_kept[start:stop]]
            if found.size:
                yield Chunk(rows, self.labels.add(found, start), stop)

    def size(self, part: int) -> int:
        """Number of samples."""
        return self._parts[part].features.n_rows

    def feature_space(self) -> FeatureSpace:
        """The features as they are, with their names."""
        return FeatureSpace(self._parts[0].features.n_features, self._parts[0].features.is_sparse, self._names)

    def description(self) -> str:
        """Origin of the samples."""
        return self._described


def sparse_matrix_rows(where: str, matrix: Any) -> CsrRows:
    """The rows of a SciPy matrix."""
    csr = scipy.sparse.csr_array(matrix)
    return CsrRows(where, csr.indptr, csr.indices, csr.data, int(csr.shape[1]))
