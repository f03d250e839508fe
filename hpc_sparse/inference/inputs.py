"""From arrays and SciPy matrices to the features that networks take; kernels look at nothing twice."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from hpc_sparse.checks import check_finite, check_lengths, check_tokens, first_unsorted
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Int32Array
from hpc_sparse.errors import ArrayError
from hpc_sparse.storage.dataset.foreign_matrix import checked_matrix, is_sparse
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features

NUMBERS = "biuf"
"""Kinds of dtypes that are taken: truth values, integers, real numbers."""


def checked_features(X: Any, n_features: int, *, is_least: bool = False, may_miss: bool = False) -> Features:
    """The features of a caller's samples, checked.

    Parameters
    ----------
    X : array_like or SciPy sparse matrix of numbers, [n_samples, n_features]
        Bytes and float32 are not copied; sparse matrices stay sparse.
    n_features : int
    is_least : bool
        More features than that will do.
    may_miss : bool
        Whether values may be NaN.

    Raises
    ------
    ArrayError
        Not a matrix of numbers that are finite in float32, of another width, or with indices outside of its shape.
    """
    matrix: Any = checked_matrix("X", X) if is_sparse(X) else _as_array(X)
    if matrix.ndim != 2:
        raise ArrayError(
            f"X: {matrix.ndim} dimensions: expected 2, a row per sample (a single sample is X.reshape(1, -1))"
        )
    if matrix.dtype.kind not in NUMBERS:
        raise ArrayError(f"X: dtype {matrix.dtype}: expected real numbers")
    if not (matrix.shape[1] == n_features or (is_least and matrix.shape[1] > n_features)):
        expected = f"at least {n_features}" if is_least else str(n_features)
        raise ArrayError(f"X: {matrix.shape[1]} features: expected {expected}, as the network was trained on")
    with np.errstate(over="ignore"):  # an infinity is refused, with its place
        features = to_features(matrix.tocsr() if is_sparse(matrix) else _narrow(matrix))
    values = np.nan_to_num(features.values, posinf=np.inf, neginf=-np.inf) if may_miss else features.values
    check_finite("X: values" if isinstance(features, CsrFeatures) else "X", values, error=ArrayError)
    return features


def checked_tokens(X: Any, n_steps: int, n_tokens: int) -> DenseFeatures:
    """The tokens of a caller's samples, checked.

    Parameters
    ----------
    X : array_like of integers, [n_samples, n_steps]
    n_steps, n_tokens : int
        Steps of a sample, and size of the vocabulary.

    Raises
    ------
    ArrayError
        Not a matrix of integers, of another width, or beyond the vocabulary.
    """
    values = _as_array(X)
    if values.ndim != 2 or values.dtype.kind not in "iu" or values.shape[1] != n_steps:
        raise ArrayError(
            f"X: {values.dtype}{list(values.shape)}: expected tokens, integers [n_samples, {n_steps}], as the "
            "network was trained on"
        )
    check_tokens("X", values, n_tokens, error=ArrayError)
    return DenseFeatures(_owned(np.ascontiguousarray(values, INDEX)))


def checked_lengths(lengths: Any, n_samples: int, n_steps: int) -> Int32Array:
    """The steps of each of a caller's sequences that count, checked.

    Raises
    ------
    ArrayError
        Not an integer from 1 to ``n_steps`` for each sample.
    """
    values = _as_array(lengths)
    if values.shape != (n_samples,) or values.dtype.kind not in "iu":
        raise ArrayError(
            f"lengths: {values.dtype}{list(values.shape)}: expected integers [{n_samples}], the steps of each sample"
        )
    check_lengths("lengths", values, n_steps, error=ArrayError)
    return values.astype(INDEX)


def without_padding(X: Any, lengths: Any, n_steps: int) -> Any:
    """A caller's sequences with 0 beyond their lengths, where anything may be; themselves if they have other shapes.

    Parameters
    ----------
    X : array_like, [n_samples, n_steps, n_features of a step], or flat
        What is sparse is returned as it is.
    lengths : array_like of integers, [n_samples]
        Not checked yet.
    n_steps : int
    """
    if is_sparse(X):
        return X
    values, own = _as_array(X), _as_array(lengths)
    is_whole = values.ndim > 1 and own.shape == values.shape[:1] and values[:1].size % n_steps == 0 and values.size
    if not is_whole or own.dtype.kind not in "iu":
        return X
    is_beyond = np.arange(n_steps) >= own[:, None]
    if is_beyond.any():
        steps = values.reshape(len(values), n_steps, -1).copy()
        steps[is_beyond] = 0
        values = steps.reshape(values.shape)
    return values


def to_features(X: Any) -> Features:
    """The features of a matrix of the right type; what need not be converted is not copied, and nothing is made dense.

    Parameters
    ----------
    X : uint8 or float32[n_samples, n_features], or SciPy's CSR
        The CSR as :func:`~hpc_sparse.storage.dataset.foreign_matrix.checked_matrix` gives it.
    """
    if isinstance(X, np.ndarray):
        return DenseFeatures(_owned(X))
    n_stored = int(X.indptr[-1])  # SciPy lets arrays be longer
    indptr, indices, values = X.indptr, X.indices[:n_stored], X.data[:n_stored].astype(VALUE, copy=False)
    if first_unsorted(indptr, indices) is not None:
        # What a matrix says of its own order may be outdated: it is asked anew, of a copy.
        matrix = csr_array((values, indices, indptr), shape=X.shape, copy=True)
        matrix.sum_duplicates()
        indptr, indices, values = matrix.indptr, matrix.indices, matrix.data
    indptr, indices = indptr.astype(OFFSET, copy=False), indices.astype(INDEX, copy=False)
    return CsrFeatures(_owned(indptr), _owned(indices), _owned(values), X.shape[1])


def _as_array(X: Any) -> AnyArray:
    if np.ma.is_masked(X):
        raise ArrayError("X: masked: expected a value for every feature")
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ArrayError(f"X: not a matrix: {error}") from None


def _narrow(values: AnyArray) -> AnyArray:
    return values if values.dtype == np.uint8 else values.astype(VALUE, copy=False)


def _owned(array: AnyArray) -> AnyArray:
    """The array, or a copy where it is no plain one that may be written to: kernels are compiled for that kind."""
    return np.require(array, requirements=["C", "A", "W", "E"])
