"""From the numbers that a caller gives to float32, without losing what tells samples apart.

A time stamp 1.7e9 + i fills the 24 bits of a float32 with what all samples have in common. Features of that kind are
centred in float64 first: what is subtracted is their origin. All others are only rounded, so that they keep their bits.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from hpc_sparse.checks import check_finite
from hpc_sparse.dtypes import VALUE, AnyArray, BoolArray, Float64Array
from hpc_sparse.errors import ArrayError
from hpc_sparse.inference.inputs import to_features
from hpc_sparse.storage.dataset.foreign_matrix import is_sparse
from hpc_sparse.storage.dataset.samples import Features

FAR = 2.0**-10
"""Features whose values differ by less than this share of the largest one are centred: float32 has 24 bits."""

LOST = 2.0**-16
"""Where features are not centred, those are warned of: they keep at most 256 different values."""


def accepted(X: Any) -> dict[str, Any]:
    """Arguments of scikit-learn's ``validate_data``: CSR and bytes pass as they are, and so does float64."""
    dtype = getattr(X, "dtype", None)
    is_short = isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= 2
    dtypes = [VALUE, np.uint8] if is_short else [np.float64, VALUE, np.uint8]
    return {"accept_sparse": "csr", "dtype": dtypes, "order": "C"}


def find_origin(name: str, X: Any, *, is_centred: bool) -> Float64Array | None:
    """float64[n_features]: what is subtracted from features that would lose their variation, 0 for others.

    Parameters
    ----------
    name : str
        Name of the estimator, for the warning.
    X : array or CSR, [n_samples, n_features]
        The training samples.
    is_centred : bool
        Whether features are centred afterwards anyway. Without, and for sparse ones, a warning says what is lost.

    Returns
    -------
    array or None
        None where no feature is of that kind.
    """
    if X.dtype != np.float64 or not X.shape[0]:
        return None
    low, high = (_extremes(X, which) for which in ("min", "max"))
    with np.errstate(over="ignore"):
        reach, extent = np.maximum(np.abs(low), np.abs(high)), high - low
    if is_centred and not is_sparse(X):
        is_far = (extent > 0) & (extent < FAR * reach)
        return np.where(is_far, low + extent / 2, 0.0) if is_far.any() else None
    _warn_of_loss(name, (extent > 0) & (extent < LOST * reach), low, high)
    return None


def to_narrow_features(X: Any, origin: Float64Array | None) -> Features:
    """The features of a validated matrix, in float32 or bytes.

    Parameters
    ----------
    X : uint8, float32 or float64[n_samples, n_features], or SciPy's CSR
    origin : float64[n_features] or None

    Raises
    ------
    ArrayError
        A value is beyond the range of float32; or X is sparse, and features have an origin.
    """
    if is_sparse(X):
        if origin is not None:
            column = int(np.flatnonzero(origin)[0])
            raise ArrayError(
                f"X: sparse: expected dense features: feature {column} was centred at {origin[column]:g} before it "
                "became float32, which would be lost"
            )
        check_range("X: values", X.data)
        return to_features(X)
    if origin is not None:
        values = np.empty(X.shape, VALUE)
        with np.errstate(over="ignore"):
            np.subtract(X, origin, out=values, casting="same_kind")
        check_finite("X", values, error=ArrayError)
        return to_features(values)
    check_range("X", X)
    return to_features(X if X.dtype == np.uint8 else X.astype(VALUE, copy=False))


def check_range(where: str, values: AnyArray) -> None:
    """Check that every number of a finite array is one in float32, too."""
    if values.dtype != np.float64 or not values.size:
        return
    limit = float(np.finfo(VALUE).max)
    if max(-float(values.min()), float(values.max())) > limit:
        position = np.unravel_index(int(np.argmax(np.abs(values) > limit)), values.shape)
        at = ", ".join(str(int(index)) for index in position)
        raise ArrayError(f"{where}[{at}] = {values[position]}: must be a number in float32, at most {limit:.4g}")


def _extremes(X: Any, which: str) -> Float64Array:
    found = getattr(X, which)(axis=0)
    return np.asarray(found.todense() if is_sparse(found) else found, np.float64).reshape(-1)


def _warn_of_loss(name: str, is_lost: BoolArray, low: Float64Array, high: Float64Array) -> None:
    if not is_lost.any():
        return
    first = int(np.argmax(is_lost))
    others = f" and {np.count_nonzero(is_lost) - 1} more" if np.count_nonzero(is_lost) > 1 else ""
    warnings.warn(
        f"{name}: X: feature {first}{others}: values from {low[first]:.12g} to {high[first]:.12g} lose their "
        "differences in float32: subtract an origin from them before, or give them dense with standardize=True",
        stacklevel=2,
    )
