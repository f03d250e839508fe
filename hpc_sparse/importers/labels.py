"""Class labels of any kind, numbered from 0 with their names kept."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import numpy as np

from hpc_sparse.dtypes import INDEX, AnyArray, Int32Array
from hpc_sparse.errors import DataError

WHOLE_NUMBER = re.compile(r"[+-]?\d+(\.0*)?")
LARGEST_LABEL = 2.0**63
FEWEST_SAMPLES_PER_CLASS = 2
FEW_SAMPLES = 100


class LabelCollector:
    """Numbers classes as they come, chunk by chunk, and puts them in order at the end."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._number: dict[int | str, int] = {}

    def add(self, labels: AnyArray, first_row: int = 0) -> Int32Array:
        """Preliminary numbers of one chunk of labels (integers, whole floats, booleans or text)."""
        flat = _as_discrete(self._where, labels, first_row)
        values, codes = np.unique(flat, return_inverse=True)
        return self.add_coded(codes, values.tolist())

    def add_coded(self, codes: AnyArray, values: Sequence[int | str]) -> Int32Array:
        """Preliminary numbers of one chunk of labels, each given by its position in ``values``."""
        numbers = [self._number.setdefault(value, len(self._number)) for value in values]
        return np.array(numbers, INDEX)[codes] if numbers else np.empty(0, INDEX)

    def finish(self, n_samples: int) -> tuple[Int32Array, tuple[str, ...]]:
        """Put the classes of all ``n_samples`` labels in order: numbers by size, also if they came as text.

        Returns
        -------
        label : int32[n_preliminary]
            By preliminary number.
        class_names : tuple of str

        Raises
        ------
        DataError
            Numbers and text are mixed, or most samples have a class of their own.
        """
        values = list(self._number)
        if len({type(value) for value in values}) > 1:
            raise DataError(f"{self._where}: labels: both numbers and text: expected one kind")
        if all(WHOLE_NUMBER.fullmatch(str(value)) for value in values):
            values = [int(str(value).partition(".")[0]) for value in values]
        classes, label = np.unique(np.array(values), return_inverse=True)
        if n_samples >= FEW_SAMPLES and classes.size * FEWEST_SAMPLES_PER_CLASS > n_samples:
            raise DataError(
                f"{self._where}: labels: {classes.size} different ones of {n_samples} samples: expected classes, "
                f"each of several samples (such as {classes[0]})"
            )
        return label.astype(INDEX), tuple(str(name) for name in classes.tolist())


def encode_labels(
    where: str, parts: Sequence[AnyArray], class_names: Sequence[str] | None = None
) -> tuple[list[Int32Array], tuple[str, ...]]:
    """Number the classes that occur in the parts together.

    Parameters
    ----------
    where : str
        File, to begin messages with.
    parts : sequence of arrays
        Labels of each part: integers, whole floats, booleans or strings.
    class_names : sequence of str, optional
        Names of the integer labels 0, 1, ...; without them a label's own text is its name.

    Returns
    -------
    labels : list of int32[n]
    class_names : tuple of str
        By label, in sorted order of the originals.
    """
    flat = [_as_discrete(where, part) for part in parts]
    if len({part.dtype.kind == "U" for part in flat}) > 1:
        raise DataError(f"{where}: labels: numbers in one part, text in another: expected one kind")
    if class_names is not None:
        return [_check_named(where, part, class_names) for part in flat], tuple(class_names)
    classes, encoded = np.unique(np.concatenate(flat), return_inverse=True)
    bounds = np.cumsum([part.size for part in flat])[:-1]
    return [part.astype(INDEX) for part in np.split(encoded, bounds)], tuple(str(name) for name in classes.tolist())


def as_text(where: str, texts: AnyArray) -> AnyArray:
    """Bytes or text as text that can be stored.

    Raises
    ------
    DataError
        Bytes that are not ASCII, or characters that do not exist.
    """
    try:
        found = texts.astype(np.str_)
        if found.size and np.ascontiguousarray(found).view(np.uint32).max() > sys.maxunicode:
            raise ValueError("a character that does not exist")
        "".join(found.reshape(-1).tolist()).encode()
    except ValueError as error:  # of which the errors of encodings are kinds
        raise DataError(f"{where}: cannot be read as text: {error}") from None
    return found


def _as_discrete(where: str, labels: AnyArray, first_row: int = 0) -> AnyArray:
    if labels.size != max(labels.shape, default=0):
        raise DataError(f"{where}: labels: shape {list(labels.shape)}: expected one label per sample")
    flat = labels.reshape(-1)
    if flat.dtype.kind in "US":
        return as_text(f"{where}: labels", flat)
    if flat.dtype.kind == "b":
        return flat.astype(np.int64)
    if flat.dtype.kind == "f":
        is_whole = (np.abs(flat) < LARGEST_LABEL) & (flat == np.round(flat))
        if not is_whole.all():
            position = int(np.argmin(is_whole))
            raise DataError(
                f"{where}: labels[{first_row + position}] = {flat[position]}: expected whole numbers or text"
            )
        return flat.astype(np.int64)
    if flat.dtype.kind not in "iu":
        raise DataError(f"{where}: labels: {flat.dtype}: expected numbers or text")
    return flat


def _check_named(where: str, labels: AnyArray, class_names: Sequence[str]) -> Int32Array:
    if labels.dtype.kind == "U":
        raise DataError(f"{where}: labels are text and class names are given: expected whole numbers")
    outside = (labels < 0) | (labels >= len(class_names))
    if outside.any():
        position = int(np.argmax(outside))
        raise DataError(
            f"{where}: labels[{position}] = {labels[position]}: must be >= 0 and < {len(class_names)}, "
            "the number of class names"
        )
    return labels.astype(INDEX)
