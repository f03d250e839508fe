"""Class labels of any kind, numbered from 0 with their names kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_sparse.dtypes import INDEX, AnyArray, Int32Array
from hpc_sparse.errors import DataError


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


def _as_discrete(where: str, labels: AnyArray) -> AnyArray:
    if labels.size != max(labels.shape, default=0):
        raise DataError(f"{where}: labels: shape {list(labels.shape)}: expected one label per sample")
    flat = labels.reshape(-1)
    if flat.dtype.kind in "US":
        return flat.astype(np.str_)
    if flat.dtype.kind == "b":
        return flat.astype(np.int64)
    if flat.dtype.kind == "f":
        is_whole = np.isfinite(flat) & (flat == np.round(flat))
        if not is_whole.all():
            position = int(np.argmin(is_whole))
            raise DataError(f"{where}: labels[{position}] = {flat[position]}: expected whole numbers or text")
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
