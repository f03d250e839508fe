"""Counts of single cells scaled to one sum per sample, and the logarithm of that plus 1."""

from __future__ import annotations

import math

import numpy as np

from hpc_sparse.dtypes import VALUE
from hpc_sparse.errors import DataError
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features


def check_target_sum(where: str, target_sum: float, *, log2: bool, tf_idf: bool) -> None:
    """Refuse (DataError) sums that are none, and two preparations at once."""
    if not (math.isfinite(target_sum) and target_sum > 0):
        raise DataError(f"{where}: target sum = {target_sum}: must be > 0 and finite, such as 10000")
    if log2 or tf_idf:
        raise DataError(f"{where}: target sum together with {'log2' if log2 else 'tf-idf'}: expected one of them")


def log1p_of_scaled(where: str, features: Features, target_sum: float) -> Features:
    """Features log(1 + c target_sum / sum of the sample's counts) for counts c; samples without any stay 0.

    Raises
    ------
    DataError
        A value is negative.
    """
    values = features.values
    if values.size and values.min() < 0:
        raise DataError(f"{where}: target sum of {values.min()}: expected counts, 0 or more")
    if isinstance(features, DenseFeatures):
        sums = values.sum(axis=1, dtype=np.float64, keepdims=True)
        return DenseFeatures(np.log1p(values * (target_sum / np.where(sums > 0, sums, 1))).astype(VALUE))
    row = np.repeat(np.arange(features.n_samples), np.diff(features.indptr))
    sums = np.bincount(row, weights=values, minlength=features.n_samples)
    scaled = np.log1p(values * (target_sum / np.where(sums > 0, sums, 1))[row]).astype(VALUE)
    return CsrFeatures(features.indptr, features.indices, scaled, features.n_features)
