"""Checks of arrays that came from outside: vectorised, in chunks, naming the first offending position."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float32Array, Int32Array, Int64Array
from hpc_sparse.errors import InputError
from hpc_sparse.partition import chunk_ranges

CHUNK_ITEMS = 1 << 22
"""Items checked together: temporary arrays stay within the processor's caches, roughly."""


def check_csr(
    where: str,
    indptr: AnyArray,
    indices: AnyArray,
    n_columns: int,
    *,
    error: type[InputError],
    first_row: int = 0,
) -> None:
    """Check the structure of rows of sparse data: each row's indices in range and strictly increasing.

    Parameters
    ----------
    where : str
        File and array group, to begin the message with.
    indptr : int[n_rows + 1]
        Start of each row in ``indices``, from 0.
    indices : int[n_stored]
        Column numbers.
    n_columns : int
        Columns that exist.
    error : class
        Error class to raise.
    first_row : int
        Number of the first row in the file, for the message.
    """
    check_indptr(where, indptr, indices.size, error=error, first_row=first_row)
    if (position := first_outside(indices, n_columns)) is not None:
        raise error(
            f"{where}: indices: {int(indices[position])} in row {first_row + row_of(indptr, position)}: "
            f"must be >= 0 and < {n_columns}"
        )
    check_increasing(where, indptr, indices, error=error, first_row=first_row)


def check_indptr(where: str, indptr: AnyArray, n_stored: int, *, error: type[InputError], first_row: int = 0) -> None:
    """Check that ``indptr`` runs from 0 to ``n_stored`` and never falls."""
    if indptr.size == 0 or indptr[0] != 0 or indptr[-1] != n_stored:
        ends = f"{int(indptr[0])} to {int(indptr[-1])}" if indptr.size else "over nothing"
        raise error(f"{where}: indptr: runs from {ends}: must run from 0 to {n_stored}, the length of indices")
    falls = indptr[1:] < indptr[:-1]
    if falls.any():
        row = int(np.argmax(falls))
        raise error(
            f"{where}: indptr: falls from {int(indptr[row])} to {int(indptr[row + 1])} at row {first_row + row}"
        )


def check_increasing(
    where: str, indptr: Int64Array, indices: Int32Array, *, error: type[InputError], first_row: int = 0
) -> None:
    """Check that the indices of each row are sorted and without duplicates."""
    if (position := first_unsorted(indptr, indices)) is not None:
        raise error(
            f"{where}: indices: {int(indices[position])} follows {int(indices[position - 1])} in row "
            f"{first_row + row_of(indptr, position)}: must be sorted without duplicates"
        )


def first_outside(indices: AnyArray, n_columns: int) -> int | None:
    """Position of the first index that is negative or not below ``n_columns``; None if there is none."""
    for start, stop in chunk_ranges(0, indices.size, CHUNK_ITEMS):
        outside = (indices[start:stop] < 0) | (indices[start:stop] >= n_columns)
        if outside.any():
            return start + int(np.argmax(outside))
    return None


def first_unsorted(indptr: AnyArray, indices: AnyArray) -> int | None:
    """Position of the first index that is not greater than the one before it in its row; None if there is none."""
    for start, stop in chunk_ranges(1, indices.size, CHUNK_ITEMS):
        position = start + np.flatnonzero(indices[start:stop] <= indices[start - 1 : stop - 1])
        is_row_start = indptr[np.searchsorted(indptr, position)] == position
        if not is_row_start.all():
            return int(position[np.argmin(is_row_start)])
    return None


def row_of(indptr: AnyArray, position: int) -> int:
    """The row that holds the index at a position."""
    return int(np.searchsorted(indptr, position, side="right")) - 1


def check_finite(where: str, values: AnyArray, *, error: type[InputError], first_row: int = 0) -> None:
    """Check that no value is infinite or not a number."""
    if values.dtype.kind not in "fc":
        return
    flat = values.reshape(-1)
    for start, stop in chunk_ranges(0, flat.size, CHUNK_ITEMS):
        is_finite = np.isfinite(flat[start:stop])
        if not is_finite.all():
            position = np.unravel_index(start + int(np.argmin(is_finite)), values.shape)
            at = ", ".join(str(int(index) + (first_row if axis == 0 else 0)) for axis, index in enumerate(position))
            raise error(f"{where}[{at}] = {values[position]}: must be finite")


def check_positive(where: str, values: Float32Array, *, error: type[InputError]) -> None:
    """Check that every value is above 0."""
    if not (is_positive := values > 0).all():
        position = int(np.argmin(is_positive))
        raise error(f"{where}[{position}] = {values[position]}: must be > 0")


def check_ids(where: str, ids: Int32Array, *, error: type[InputError]) -> None:
    """Check that ids are >= 0 and increase."""
    if ids.size and ids[0] < 0:
        raise error(f"{where}[0] = {int(ids[0])}: must be >= 0")
    falls = ids[1:] <= ids[:-1]
    if falls.any():
        position = int(np.argmax(falls))
        raise error(
            f"{where}[{position + 1}] = {int(ids[position + 1])}: must be greater than {int(ids[position])}, "
            "the one before it"
        )


def check_labels(
    where: str, labels: Int32Array, n_classes: int, *, error: type[InputError], first_row: int = 0
) -> None:
    """Check that labels number the classes from 0; those of steps may be -1."""
    outside = (labels < (0 if labels.ndim == 1 else -1)) | (labels >= n_classes)
    if outside.any() and labels.ndim > 1:
        at, step = np.unravel_index(int(np.argmax(outside)), labels.shape)
        raise error(
            f"{where}[{first_row + int(at)}, {int(step)}] = {int(labels[at, step])}: must be >= 0 and < {n_classes}, "
            "one of the classes, or -1 for none"
        )
    if outside.any():
        row = int(np.argmax(outside))
        raise error(
            f"{where}[{first_row + row}] = {int(labels[row])}: must be >= 0 and < {n_classes}, one of the classes"
        )


def check_tokens(where: str, tokens: AnyArray, n_tokens: int, *, error: type[InputError], first_row: int = 0) -> None:
    """Check that tokens [n_samples, n_steps] number the entries of a vocabulary from 0."""
    outside = (tokens < 0) | (tokens >= n_tokens)
    if outside.any():
        row, step = np.unravel_index(int(np.argmax(outside)), tokens.shape)
        raise error(
            f"{where}[{first_row + int(row)}, {int(step)}] = {int(tokens[row, step])}: must be >= 0 and < {n_tokens}, "
            "one of the vocabulary"
        )


def check_lengths(
    where: str, lengths: Int32Array, n_steps: int, *, error: type[InputError], first_row: int = 0
) -> None:
    """Check that sequences have at least one step, and no more than there are."""
    outside = (lengths < 1) | (lengths > n_steps)
    if outside.any():
        row = int(np.argmax(outside))
        raise error(f"{where}[{first_row + row}] = {int(lengths[row])}: must be >= 1 and <= {n_steps}, the steps")
