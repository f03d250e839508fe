"""Sequences that differ in length: as lists of arrays, or padded arrays with lengths."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hpc_sparse.dtypes import INDEX, AnyArray, BoolArray, Int32Array
from hpc_sparse.errors import ArrayError
from hpc_sparse.inference.inputs import checked_lengths
from hpc_sparse.storage.dataset.foreign_matrix import is_sparse

WHOLE = 3
"""Dimensions of an array of sequences."""


class Sequences(NamedTuple):
    """Samples with the features of all steps one after the other.

    Attributes
    ----------
    X : array or sparse matrix, [n_samples, n_features of all steps]
    n_steps : int or None
        Steps of a sample; None where nothing says.
    lengths : int32[n_samples] or None
        Steps of each that count, where they differ.
    """

    X: Any
    n_steps: int | None
    lengths: Int32Array | None


def as_sequences(name: str, X: Any, lengths: Any, n_steps: int | None, *, is_first: bool) -> Sequences:
    """The samples of a caller.

    Parameters
    ----------
    name : str
        Name of the estimator, for messages.
    X : array [n_samples, n_steps, n_features], two-dimensional samples, or a list of arrays [n_steps, n_features]
        Of two dimensions are those whose steps nothing but ``n_steps`` tells.
    lengths : array_like of int or None
        Steps of each sample that count.
    n_steps : int or None
        Steps of a sample: of the first samples, the most that a list may have; of later ones, those of the first.
    is_first : bool

    Raises
    ------
    ArrayError
        The sequences do not fit together, or with their lengths.
    """
    if _is_list_of_sequences(X):
        if lengths is not None:
            raise ArrayError(f"{name}: lengths: not with a list of sequences, which have lengths of their own")
        return _padded(name, X, n_steps)
    if getattr(X, "ndim", 0) != WHOLE:
        return Sequences(X, n_steps, _checked(name, X, lengths, n_steps))
    if lengths is not None and not is_first and n_steps is not None and X.shape[1] < n_steps:
        X = np.pad(X, ((0, 0), (0, n_steps - X.shape[1]), (0, 0)))
    flat = X.reshape(X.shape[0], X.shape[1] * X.shape[2])
    return Sequences(flat, X.shape[1], _checked(name, flat, lengths, X.shape[1]))


def without_rest(X: Any, lengths: Int32Array | None, n_steps: int | None) -> Any:
    """The same with 0 beyond the lengths, whatever was there, such as NaN; sparse samples stay as they are."""
    if lengths is None or n_steps is None or is_sparse(X):
        return X
    X = np.asarray(X)
    if X.ndim != 2 or X.shape[0] != lengths.size or X.shape[1] % n_steps:  # said where samples are checked
        return X
    return np.where(is_read(lengths, n_steps, X.shape[1]), X, np.zeros((), X.dtype))


def with_means(X: Any, lengths: Int32Array, n_steps: int) -> Any:
    """Dense real numbers with each feature's mean beyond the lengths, which then change no extremes."""
    if is_sparse(X) or X.dtype.kind != "f":
        return X
    own = is_read(lengths, n_steps, X.shape[1])
    sums = np.sum(X, axis=0, dtype=np.float64, where=own)
    return np.where(own, X, (sums / np.maximum(1, own.sum(axis=0))).astype(X.dtype))


def is_read(lengths: Int32Array, n_steps: int, n_features: int) -> BoolArray:
    """bool[n_samples, n_features]: whether a feature belongs to a step that counts."""
    own: BoolArray = np.repeat(np.arange(n_steps) < lengths[:, None], n_features // n_steps, axis=1)
    return own


def _is_list_of_sequences(X: Any) -> bool:
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        X = list(X)
    if not isinstance(X, (list, tuple)) or not X:
        return False
    shapes = [np.shape(each) if isinstance(each, np.ndarray) else None for each in X]
    if all(shape is not None for shape in shapes):
        return len(set(shapes)) > 1 or len(shapes[0] or ()) == 2
    return all(isinstance(each, (list, tuple)) for each in X) and len({len(each) for each in X}) > 1


def _padded(name: str, X: Any, n_steps: int | None) -> Sequences:
    """A list of sequences as an array, with 0 beyond their steps."""
    sequences = [_one(name, number, each) for number, each in enumerate(X)]
    n_features = sequences[0].shape[1]
    lengths = np.array([len(each) for each in sequences], INDEX)
    most = int(lengths.max()) if n_steps is None else n_steps
    for number, each in enumerate(sequences):
        if each.shape[1] != n_features:
            raise ArrayError(f"{name}: X[{number}] has {each.shape[1]} features: expected {n_features}, as X[0] has")
        if len(each) > most:
            raise ArrayError(f"{name}: X[{number}] has {len(each)} steps: expected at most {most}")
    values = np.zeros((len(sequences), most, n_features), np.result_type(*sequences))
    for own, each in zip(values, sequences, strict=True):
        own[: len(each)] = each
    return Sequences(values.reshape(len(sequences), most * n_features), most, lengths)


def _one(name: str, number: int, values: Any) -> AnyArray:
    """One sequence [n_steps, n_features]."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ArrayError(f"{name}: X[{number}]: not a sequence of steps: {error}") from None
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.size or array.dtype.kind not in "biuf":
        raise ArrayError(
            f"{name}: X[{number}]: {array.dtype}{list(array.shape)}: expected real numbers [n_steps, n_features]"
        )
    return array


def _checked(name: str, X: Any, lengths: Any, n_steps: int | None) -> Int32Array | None:
    if lengths is None:
        return None
    shape = np.shape(X)
    steps = n_steps if n_steps is not None else shape[1] if len(shape) == 2 else 1
    try:
        return checked_lengths(lengths, shape[0] if shape else 0, steps)
    except ArrayError as error:
        raise ArrayError(f"{name}: {error}") from None
