"""SciPy matrices of a caller: looked at before anything converts them, since SciPy and the kernels trust indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpc_sparse.checks import check_indptr, first_outside, row_of
from hpc_sparse.dtypes import MAX_NEURONS, AnyArray
from hpc_sparse.errors import ArrayError

COMPRESSED = ("csr", "csc", "bsr")
"""Formats with ``indptr`` and ``indices``."""

OTHER = ("dia", "dok", "lil")
"""Formats that are converted to be looked at: nobody has large ones of them."""


def is_sparse(X: Any) -> bool:
    """Whether an object is a SciPy matrix or array of any format, or acts like one."""
    return hasattr(X, "tocsr") and hasattr(X, "format")


def checked_matrix(where: str, matrix: Any) -> Any:
    """The matrix, or one of the same content, whose indices can be trusted.

    Parameters
    ----------
    where : str
        Name of the matrix, to begin the message with.
    matrix : SciPy sparse matrix or array
        Not changed. Indices may come in any order and more than once.

    Raises
    ------
    ArrayError
        It has other than two dimensions, an index is outside of its shape, or its arrays do not fit each other.
    """
    if len(matrix.shape) != 2:
        raise ArrayError(f"{where}: {len(matrix.shape)} dimensions: expected 2, a row per sample")
    if matrix.shape[1] > MAX_NEURONS:
        raise ArrayError(f"{where}: {matrix.shape[1]} columns: must be at most {MAX_NEURONS}")
    if matrix.format in OTHER:
        matrix = _converted(where, matrix)
    if matrix.format in COMPRESSED:
        _check_compressed(where, matrix)
    elif matrix.format == "coo":
        _check_coordinates(where, matrix)
    else:
        raise ArrayError(f"{where}: sparse format {matrix.format!r}: expected one of SciPy's")
    return matrix


def _check_compressed(where: str, matrix: Any) -> None:
    """Check CSR, CSC, and BSR, whose indices are those of blocks."""
    n_rows, n_columns = matrix.shape
    if matrix.format == "csc":
        n_rows, n_columns = n_columns, n_rows
    if matrix.format == "bsr":
        n_rows, n_columns = n_rows // matrix.blocksize[0], n_columns // matrix.blocksize[1]
    indptr, indices = _numbers(where, "indptr", matrix.indptr), _numbers(where, "indices", matrix.indices)
    if indptr.size != n_rows + 1:
        raise ArrayError(f"{where}: indptr: {indptr.size} numbers: must be {n_rows + 1}, for shape {matrix.shape}")
    n_stored = min(indices.size, len(matrix.data))
    check_indptr(where, indptr, n_stored if indptr[-1] > n_stored else int(indptr[-1]), error=ArrayError)
    position = first_outside(indices[: indptr[-1]], n_columns)
    if position is not None:
        line = "column" if matrix.format == "csc" else "block row" if matrix.format == "bsr" else "row"
        raise ArrayError(
            f"{where}: indices: {int(indices[position])} in {line} {row_of(indptr, position)}: must be >= 0 and "
            f"< {n_columns}"
        )


def _check_coordinates(where: str, matrix: Any) -> None:
    rows, columns = (_numbers(where, name, each) for name, each in zip(("row", "col"), matrix.coords, strict=True))
    if not rows.size == columns.size == len(matrix.data):
        raise ArrayError(
            f"{where}: {rows.size} rows and {columns.size} columns of {len(matrix.data)} values: must be as many"
        )
    for line, indices, other, n_lines in (
        ("col", columns, rows, matrix.shape[1]),
        ("row", rows, rows, matrix.shape[0]),
    ):
        position = first_outside(indices, n_lines)
        if position is not None:
            raise ArrayError(
                f"{where}: {line}: {int(indices[position])} in row {int(other[position])}: must be >= 0 and < {n_lines}"
            )


def _converted(where: str, matrix: Any) -> Any:
    """The same by coordinates, or rows; arrays that do not fit each other would make SciPy read beyond them."""
    if matrix.format == "dia":
        offsets = _numbers(where, "offsets", matrix.offsets)
        if matrix.data.ndim != 2 or matrix.data.shape[0] != offsets.size:
            raise ArrayError(f"{where}: {offsets.size} offsets of diagonals {matrix.data.shape}: must be as many")
    if matrix.format == "lil":
        for row, (columns, values) in enumerate(zip(matrix.rows, matrix.data, strict=True)):
            if len(columns) != len(values):
                raise ArrayError(f"{where}: row {row}: {len(columns)} columns of {len(values)} values")
    try:
        return matrix.tocsr() if matrix.format == "lil" else matrix.tocoo()
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ArrayError(f"{where}: {matrix.format} matrix: SciPy cannot convert it: {error}") from None


def _numbers(where: str, name: str, values: Any) -> AnyArray:
    """An array of whole numbers."""
    array: AnyArray = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ArrayError(f"{where}: {name}: {array.dtype} of {array.ndim} dimensions: expected whole numbers in a row")
    return array
