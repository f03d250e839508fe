"""Features of foreign data as the two kinds that data set files hold."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import scipy.sparse

from hpc_sparse.checks import check_finite, check_indptr
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, BoolArray
from hpc_sparse.errors import DataError
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features, Samples


def dense_features(where: str, values: AnyArray, *, first_row: int = 0) -> DenseFeatures:
    """Samples by features: unsigned bytes stay so, all else becomes float32; further axes are flattened.

    Messages count rows from ``first_row``.

    Raises
    ------
    DataError
        The values are not real numbers, not finite as float32, or not at least two-dimensional.
    """
    if values.ndim < 2:
        raise DataError(f"{where}: shape {list(values.shape)}: expected samples x features")
    table = values.reshape(values.shape[0], int(np.prod(values.shape[1:], dtype=np.int64)))
    if table.dtype.kind == "b" or table.dtype == np.uint8:
        return DenseFeatures(np.ascontiguousarray(table, np.uint8))
    return DenseFeatures(_as_values(where, table, first_row))


class Described(Protocol):
    """Whatever says its type and shape: an array, or one that is still in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its elements."""


def check_csr_arrays(where: str, indptr: Described, indices: Described, data: Described | None) -> None:
    """Refusal of arrays that cannot be those of compressed sparse rows, by type and shape alone.

    Raises
    ------
    DataError
        ``indptr`` or ``indices`` is not a row of integers, or ``data`` has another length than ``indices``.
    """
    for name, array in (("indptr", indptr), ("indices", indices)):
        if len(array.shape) != 1 or array.dtype.kind not in "iu":
            raise DataError(f"{where}: {name}: {array.dtype}{list(array.shape)}: expected a row of integers")
    if data is not None and data.shape != indices.shape:
        raise DataError(f"{where}: data: shape {list(data.shape)}: expected {list(indices.shape)}, as indices")


def csr_features(
    where: str, indptr: AnyArray, indices: AnyArray, data: AnyArray | None, shape: tuple[int, int]
) -> CsrFeatures:
    """Compressed sparse rows with indices sorted, duplicates added up, and float32 values (all 1 without ``data``).

    Raises
    ------
    DataError
        The arrays do not describe a matrix of this shape, or a value is not finite.
    """
    n_rows, n_features = shape
    check_csr_arrays(where, indptr, indices, data)
    if indptr.size != n_rows + 1:
        raise DataError(f"{where}: indptr: {indptr.size} entries: expected {n_rows + 1} for {n_rows} samples")
    # Unsigned differences would wrap around instead of being negative.
    offsets = indptr.astype(OFFSET)
    check_indptr(where, offsets, indices.size, error=DataError)
    outside = (indices < 0) | (indices >= n_features)
    if outside.any():
        position = int(np.argmax(outside))
        raise DataError(f"{where}: indices[{position}] = {indices[position]}: must be >= 0 and < {n_features}")
    values = np.ones(indices.size, VALUE) if data is None else _as_values(where, data)
    matrix = scipy.sparse.csr_array((values, indices.astype(INDEX), offsets), shape=shape, copy=True)
    matrix.sum_duplicates()
    return CsrFeatures(matrix.indptr.astype(OFFSET), matrix.indices.astype(INDEX), matrix.data, n_features)


def log2_of(where: str, samples: Samples) -> Samples:
    """The samples with log2(max(x, 1)) for each value x.

    Raises
    ------
    DataError
        The features are sparse: a stored 1 would become 0, and what is stored would no longer be what is not 0.
    """
    if not isinstance(samples.features, DenseFeatures):
        raise DataError(f"{where}: log2 of sparse features: expected dense ones")
    return Samples(
        DenseFeatures(np.log2(np.maximum(samples.features.values, VALUE(1)))), samples.labels, samples.lengths
    )


def without_zeros(features: CsrFeatures) -> CsrFeatures:
    """The same features without the zeros that are stored."""
    is_kept = features.values != 0
    if is_kept.all():
        return features
    kept_before = np.concatenate([np.zeros(1, OFFSET), np.cumsum(is_kept, dtype=OFFSET)])
    return CsrFeatures(
        kept_before[features.indptr], features.indices[is_kept], features.values[is_kept], features.n_features
    )


def rows_where(features: Features, is_kept: BoolArray) -> Features:
    """Some of the samples."""
    if isinstance(features, DenseFeatures):
        return DenseFeatures(features.values[is_kept])
    counts = np.diff(features.indptr)
    stays = np.repeat(is_kept, counts)
    indptr = np.concatenate([np.zeros(1, OFFSET), np.cumsum(counts[is_kept], dtype=OFFSET)])
    return CsrFeatures(indptr, features.indices[stays], features.values[stays], features.n_features)


def _as_values(where: str, values: AnyArray, first_row: int = 0) -> AnyArray:
    if values.dtype.kind not in "fiub":
        raise DataError(f"{where}: {values.dtype}: expected real numbers")
    check_finite(where, values, error=DataError, first_row=first_row)
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(values, VALUE)
    check_finite(f"{where} (as float32)", converted, error=DataError, first_row=first_row)
    return converted
