"""Dividing samples into a training and a test part."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import Int32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.rng import Purpose, stream


def stratified_split(labels: Int32Array, test_fraction: float, seed: int) -> tuple[Int64Array, Int64Array]:
    """Divide samples at random so that each class gives the same fraction of its samples to the test part.

    Each class keeps at least one training sample.

    Parameters
    ----------
    labels : int32[n_samples]
        Classes from 0.
    test_fraction : float
        Fraction of all samples, above 0 and below 1.
    seed : int

    Returns
    -------
    train_rows, test_rows : int64
        Increasing; together all samples once.
    """
    _check_fraction(test_fraction)
    n_test = _n_test_by_class(np.bincount(labels), test_fraction)
    generator = stream(seed, Purpose.DATA_SPLIT)
    is_test = np.zeros(labels.size, np.bool_)
    for label, wanted in enumerate(n_test):
        is_test[generator.permutation(np.flatnonzero(labels == label))[:wanted]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def random_split(n_samples: int, test_fraction: float, seed: int) -> tuple[Int64Array, Int64Array]:
    """Divide samples at random, whatever their classes, at least one of them for training.

    Parameters and results are those of :func:`stratified_split`.
    """
    _check_fraction(test_fraction)
    n_test = min(round(n_samples * test_fraction), n_samples - 1)
    is_test = np.zeros(n_samples, np.bool_)
    is_test[stream(seed, Purpose.DATA_SPLIT).permutation(n_samples)[:n_test]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _check_fraction(test_fraction: float) -> None:
    if not 0 < test_fraction < 1:
        raise DataError(f"test fraction = {test_fraction}: must be above 0 and below 1")


def _n_test_by_class(counts: Int64Array, test_fraction: float) -> Int64Array:
    """Largest remainder: whole numbers that add up to the fraction of all samples where classes allow it."""
    exact = counts * test_fraction
    n_test: Int64Array = np.floor(exact).astype(np.int64)
    missing = round(counts.sum() * test_fraction) - int(n_test.sum())
    can_give = np.flatnonzero(n_test + 1 < counts)
    by_remainder = can_give[np.argsort(-(exact - n_test)[can_give], kind="stable")]
    n_test[by_remainder[: max(0, missing)]] += 1
    return n_test
