"""Data frames of a caller: their columns are taken by name, where the names of the features are known."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpc_sparse.config import find_data
from hpc_sparse.errors import ArrayError, InputError, quoted
from hpc_sparse.storage.dataset.feature_summary import read_feature_names


def has_names(X: Any) -> bool:
    """Whether an object is a data frame whose columns have names."""
    columns = getattr(X, "columns", None)
    return columns is not None and len(columns) > 0 and all(isinstance(name, str) for name in columns)


def in_order(X: Any, names: Sequence[str] | None) -> Any:
    """A data frame with its columns in the order of the features.

    Parameters
    ----------
    X : data frame with names
    names : sequence of str or None
        Of the features; None if nobody knows them: columns are then taken in their order, with a warning.

    Raises
    ------
    ArrayError
        The columns are others.
    """
    columns = list(X.columns)
    if names is None:
        warnings.warn(
            "X: columns have names, but the data set that the network was trained on has none or is not found: they "
            "are taken in their order; name them with load_model(path, feature_names=...)",
            stacklevel=2,
        )
        return X
    if columns == list(names):
        return X
    if missing := sorted(set(names) - set(columns)):
        raise ArrayError(f"X: no column {quoted(missing[0])!r}, nor {len(missing) - 1} others: expected every feature")
    if len(columns) != len(names):
        other = next((name for name in columns if name not in set(names)), columns[0])
        raise ArrayError(f"X: {len(columns)} columns, such as {quoted(other)!r}: expected the {len(names)} features")
    return X[list(names)]


def stored_names(data: str, checkpoint: Path) -> tuple[str, ...] | None:
    """Names of the features in the data set that a checkpoint's run read; None if it has none or is not found."""
    for folder in (checkpoint.parent, checkpoint.parent.parent):
        with suppress(InputError):
            return read_feature_names(find_data(data, folder / checkpoint.name))
    return None
