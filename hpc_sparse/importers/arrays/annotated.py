"""What AnnData adds to arrays in HDF5: categories with codes, sparse columns, and names of features in ``var``."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from hpc_sparse.dtypes import AnyArray, BoolArray
from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays.foreign_file import ForeignArray, ForeignFile, ForeignGroup
from hpc_sparse.importers.arrays.rows import CsrRows, sparse_matrix_rows
from hpc_sparse.importers.source import check_n_labels

CATEGORICAL = ("categories", "codes")


def labels_of_categories(where: str, group: ForeignGroup, *, drop_missing: bool) -> tuple[AnyArray, BoolArray | None]:
    """Category of each sample, and which samples have one (None: all).

    Parameters
    ----------
    where : str
        To begin messages with.
    group : ForeignGroup
        With the categories, and a code per sample, which is -1 where it is missing.
    drop_missing : bool
        Whether samples without a category are allowed.

    Raises
    ------
    DataError
        The arrays do not fit, or a sample has no category and none is to be dropped.
    """
    categories, codes = group.array("categories").all(), group.array("codes").all()
    if codes.ndim != 1 or codes.dtype.kind not in "iu" or categories.ndim != 1 or not categories.size:
        raise DataError(f"{where}: expected a row of categories, and whole numbers as their codes")
    outside = (codes < -1) | (codes >= categories.size)
    if outside.any():
        row = int(np.argmax(outside))
        raise DataError(f"{where}: codes[{row}] = {codes[row]}: must be >= -1 and < {categories.size}")
    is_missing = codes < 0
    if not is_missing.any():
        return categories[codes], None
    if not drop_missing:
        raise DataError(
            f"{where}: row {int(np.argmax(is_missing))}: has no category (code -1), {int(is_missing.sum())} in all: "
            "leave such samples out with --drop-missing"
        )
    return categories[np.maximum(codes, 0)], ~is_missing


def rows_of_columns(where: str, group: ForeignGroup, shape: tuple[int, ...], labels: AnyArray) -> CsrRows:
    """The rows of compressed sparse columns, which must fit in memory for that (DataError)."""
    check_n_labels(where, shape[0], labels)  # before anything of that length is made
    indptr, indices, data = (group.array(name).all() for name in ("indptr", "indices", "data"))
    columns = CsrRows(where, indptr, indices, data, shape[0])  # checks what both kinds have in common
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < shape[0]:
        raise DataError(f"{where}: indices: from {indices.min()} to {indices.max()}: must be >= 0 and < {shape[0]}")
    return sparse_matrix_rows(where, scipy.sparse.csc_array((data, indices, indptr), shape=(shape[0], columns.n_rows)))


def feature_names(file: ForeignFile, x_name: str, n_features: int) -> list[str] | None:
    """Names in the index of ``var`` beside ``X`` and ``layers``, or of ``raw/var``; None where there are none."""
    path = x_name.strip("/")
    if path != "X" and not path.startswith(("layers/", "raw/")):
        return None
    var = "raw/var" if path.startswith("raw/") else "var"
    group = file.item(var) if file.has(var) else None
    if not isinstance(group, ForeignGroup) or group.index is None or not file.has(f"{var}/{group.index}"):
        return None
    index = file.item(f"{var}/{group.index}")
    if not isinstance(index, ForeignArray):
        return None
    if index.shape != (n_features,):
        raise DataError(
            f"{file.path}: {index.name}: shape {list(index.shape)}: expected a name per feature: {n_features}"
        )
    return [str(name) for name in index.all().tolist()]
