"""From arrays and SciPy matrices to the features that networks take; kernels look at nothing twice."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpc_sparse.checks import check_csr, check_finite, check_tokens
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray
from hpc_sparse.errors import DataError
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features

NUMBERS = "biuf"
"""Kinds of dtypes that are taken: truth values, integers, real numbers."""


def checked_features(X: Any, n_features: int, *, is_least: bool = False) -> Features:
    """The features of a caller's samples, checked.

    Parameters
    ----------
    X : array_like or SciPy sparse matrix of numbers, [n_samples, n_features]
        Bytes and float32 are not copied; sparse matrices stay sparse.
    n_features : int
    is_least : bool
        More features than that will do.

    Raises
    ------
    DataError
        Not a matrix of numbers that are finite in float32, or of another width.
    """
    is_sparse = hasattr(X, "tocsr")
    values: Any = X if is_sparse else _as_array(X)
    if values.ndim != 2:
        raise DataError(
            f"X: {values.ndim} dimensions: expected 2, a row per sample (a single sample is X.reshape(1, -1))"
        )
    if values.dtype.kind not in NUMBERS:
        raise DataError(f"X: dtype {values.dtype}: expected real numbers")
    if not (values.shape[1] == n_features or (is_least and values.shape[1] > n_features)):
        expected = f"at least {n_features}" if is_least else str(n_features)
        raise DataError(f"X: {values.shape[1]} features: expected {expected}, as the network was trained on")
    with np.errstate(over="ignore"):  # an infinity is refused, with its place
        features = to_features(values.tocsr() if is_sparse else _narrow(values))
    if isinstance(features, CsrFeatures):
        check_csr("X", features.indptr, features.indices, features.n_features, error=DataError)
        check_finite("X: values", features.values, error=DataError)
    else:
        check_finite("X", features.values, error=DataError)
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
    DataError
        Not a matrix of integers, of another width, or beyond the vocabulary.
    """
    values = _as_array(X)
    if values.ndim != 2 or values.dtype.kind not in "iu" or values.shape[1] != n_steps:
        raise DataError(
            f"X: {values.dtype}{list(values.shape)}: expected tokens, integers [n_samples, {n_steps}], as the "
            "network was trained on"
        )
    check_tokens("X", values, n_tokens, error=DataError)
    return DenseFeatures(_owned(np.ascontiguousarray(values, INDEX)))


def to_features(X: Any) -> Features:
    """The features of a matrix of the right type; what need not be converted is not copied, and nothing is made dense.

    Parameters
    ----------
    X : uint8 or float32[n_samples, n_features], or SciPy's CSR
    """
    if isinstance(X, np.ndarray):
        return DenseFeatures(_owned(np.ascontiguousarray(X)))
    X = X.astype(VALUE, copy=False)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    indptr, indices = X.indptr.astype(OFFSET, copy=False), X.indices.astype(INDEX, copy=False)
    return CsrFeatures(_owned(indptr), _owned(indices), _owned(X.data), X.shape[1])


def _as_array(X: Any) -> AnyArray:
    try:
        return np.asarray(X)
    except ValueError as error:
        raise DataError(f"X: not a matrix: {error}") from None


def _narrow(values: AnyArray) -> AnyArray:
    return values if values.dtype == np.uint8 else values.astype(VALUE, copy=False)


def _owned(array: AnyArray) -> AnyArray:
    """The array, or a copy of it where it must not be written to: kernels are compiled for the other kind."""
    return array if array.flags.writeable else array.copy()
