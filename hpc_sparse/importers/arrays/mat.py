"""MATLAB files (.mat) up to version 7.2; files of version 7.3 are HDF5."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays.names import ArrayNames, described
from hpc_sparse.importers.arrays.rows import ArrayPart, ArraySource, DenseRows, Matrix, sparse_matrix_rows
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.streamed import import_streamed
from hpc_sparse.importers.text_files import reason
from hpc_sparse.storage.dataset.samples import DatasetInfo

READ_ERRORS = (
    *(OSError, ValueError, TypeError, EOFError, KeyError, IndexError, OverflowError, MemoryError),
    *(zlib.error, scipy.io.matlab.MatReadError),
)
"""Errors that SciPy raises for a malformed file, depending on the part that is malformed."""


def import_mat(
    source: Path | str,
    target: Path | str,
    *,
    names: ArrayNames | None = None,
    options: ImportOptions | None = None,
) -> DatasetInfo:
    """Import variables of a file, which is read whole.

    Parameters
    ----------
    source, target : path
    names : ArrayNames, optional
        The variables: samples x features (sparse ones stay sparse), and labels. By default those with usual names, such
        as ``X`` and ``Y``, or ``fea`` and ``gnd``; some of the samples are taken for testing.
    options : ImportOptions, optional

    Raises
    ------
    DataError
        The file cannot be read, has no such variables, or they do not fit.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    path = Path(source)
    variables = _read(path)
    kinds = {name: _kind(value) for name, value in variables.items()}
    pairs = (names or ArrayNames()).chosen(str(path), kinds, kinds.__contains__)
    parts = [_part(path, variables, *pair) for pair in pairs]
    arrays = ArraySource(str(path), parts, described(path.name, pairs))
    return import_streamed(arrays, target, path.stem, options or ImportOptions())


def _read(path: Path) -> dict[str, Any]:
    try:
        found = scipy.io.loadmat(str(path), appendmat=False)
    except NotImplementedError:
        raise DataError(
            f"{path}: is a MATLAB file of version 7.3, which is HDF5: import it with `data import hdf5 --transposed`"
        ) from None
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read as a MATLAB file: {reason(error)}") from error
    return {name: value for name, value in found.items() if not name.startswith("__")}


def _part(path: Path, variables: dict[str, Any], x_name: str, y_name: str) -> ArrayPart:
    return ArrayPart(_matrix(f"{path}: {x_name}", variables[x_name]), _labels(f"{path}: {y_name}", variables[y_name]))


def _matrix(where: str, value: Any) -> Matrix:
    return sparse_matrix_rows(where, value) if scipy.sparse.issparse(value) else DenseRows(where, np.asarray(value))


def _labels(where: str, value: Any) -> AnyArray:
    """A column or row of numbers, a matrix of characters, or a cell array of texts."""
    if scipy.sparse.issparse(value):
        raise DataError(f"{where}: is sparse: expected a label for each sample")
    labels: AnyArray = np.asarray(value)
    if labels.dtype.kind != "O":
        return np.char.strip(labels) if labels.dtype.kind == "U" else labels
    texts = [np.asarray(cell).reshape(-1) for cell in labels.reshape(-1)]
    if any(text.size != 1 for text in texts):
        raise DataError(f"{where}: expected one number or text per sample")
    return np.array([str(text[0]) for text in texts])


def _kind(value: Any) -> str:
    kind = "sparse" if scipy.sparse.issparse(value) else str(getattr(value, "dtype", type(value).__name__))
    return f"{kind}{list(getattr(value, 'shape', ()))}"
