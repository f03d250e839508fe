"""Missing values of features: filled by the means of the training part, and flagged by features of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array, Float64Array, Int32Array, Int64Array
from hpc_sparse.errors import DataError, quoted
from hpc_sparse.storage.dataset.feature_summary import read_feature_names, read_filled
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features


@dataclass
class MissingCounts:
    """Sums of the values that are there, and numbers of those that are missing, which are NaN.

    Attributes
    ----------
    total : float64[n_features]
    n_missing : int64[n_features]
    n_samples : int
    """

    total: Float64Array
    n_missing: Int64Array
    n_samples: int = 0

    @classmethod
    def none(cls, n_features: int) -> Self:
        """Those of no sample."""
        return cls(np.zeros(n_features), np.zeros(n_features, OFFSET))

    def add(self, features: Features) -> None:
        """Count some samples, too."""
        is_missing = np.isnan(features.values)
        values = np.where(is_missing, 0.0, features.values.astype(np.float64))
        if isinstance(features, DenseFeatures):
            self.n_missing += np.count_nonzero(is_missing, axis=0)
            self.total += values.sum(axis=0)
        else:
            self.n_missing += np.bincount(features.indices[is_missing], minlength=self.total.size)
            self.total += np.bincount(features.indices, values, minlength=self.total.size)
        self.n_samples += features.n_samples


@dataclass(frozen=True)
class MissingValues:
    """What stands for missing values.

    Attributes
    ----------
    means : float32[n_raw]
        Of each feature, over the training samples that have it.
    flagged : int32[n_raw]
        1 for features that have another one behind all others, which is 1 where they are missing; else 0.
    """

    means: Float32Array
    flagged: Int32Array
    _flag: Int32Array = field(init=False, repr=False)
    """Number of the feature that flags each one; -1 for none."""

    def __post_init__(self) -> None:
        numbers = self.means.size + np.cumsum(self.flagged) - 1
        object.__setattr__(self, "_flag", np.where(self.flagged == 1, numbers, -1).astype(INDEX))

    @classmethod
    def of(cls, where: str, counts: MissingCounts, names: Sequence[str] | None, *, has_flags: bool) -> MissingValues:
        """Means of the training part, with flags for features that miss values there.

        Raises
        ------
        DataError
            A feature has no value at all.
        """
        if (absent := np.flatnonzero(counts.n_missing == counts.n_samples)).size:
            first, n_others = int(absent[0]), absent.size - 1
            shown = f"feature {first}" if names is None else f'feature "{quoted(names[first], 40)}"'
            more = f", nor have {n_others} others" if n_others else ""
            raise DataError(f"{where}: {shown} has no value in the training part{more}: leave it out with --drop")
        means = (counts.total / (counts.n_samples - counts.n_missing)).astype(VALUE)
        return cls(means, ((counts.n_missing > 0) & has_flags).astype(INDEX))

    @property
    def n_features(self) -> int:
        """Features with the flags."""
        return self.means.size + int(self.flagged.sum())

    def names(self, names: Sequence[str] | None) -> list[str] | None:
        """Those of the features with the flags."""
        if names is None:
            return None
        return [*names, *(f"{names[number]} is missing" for number in np.flatnonzero(self.flagged).tolist())]

    def n_flags(self, counts: MissingCounts) -> int:
        """Flags that are 1 for the samples that were counted."""
        return int(counts.n_missing[self.flagged == 1].sum())

    def filled(self, features: Features) -> Features:
        """The features without NaN, and with the flags."""
        is_missing = np.isnan(features.values)
        if isinstance(features, CsrFeatures):
            return self._filled_sparse(features, is_missing)
        values = np.where(is_missing, self.means, features.values)
        flags = is_missing[:, self.flagged == 1].astype(VALUE)
        return DenseFeatures(np.ascontiguousarray(np.concatenate([values, flags], axis=1), VALUE))

    def _filled_sparse(self, features: CsrFeatures, is_missing: AnyArray) -> CsrFeatures:
        values = np.where(is_missing, self.means[features.indices], features.values).astype(VALUE)
        rows = np.repeat(np.arange(features.n_samples), np.diff(features.indptr))
        flag = np.where(is_missing, self._flag[features.indices], INDEX(-1))
        is_flag = flag >= 0
        row, column = np.concatenate([rows, rows[is_flag]]), np.concatenate([features.indices, flag[is_flag]])
        order = np.lexsort((column, row))
        stored = np.concatenate([values, np.ones(np.count_nonzero(is_flag), VALUE)])[order]
        indptr = np.zeros(features.n_samples + 1, OFFSET)
        np.cumsum(np.bincount(row, minlength=features.n_samples), out=indptr[1:])
        return CsrFeatures(indptr, column[order].astype(INDEX), stored, self.n_features)


def read_missing_values(where: str, path: Path, n_features: int, names: Sequence[str] | None) -> MissingValues:
    """What stands for missing values in a data set, for features from ``where`` that are the same.

    Raises
    ------
    DataError
        It was imported without means, or its features are others.
    """
    filled = read_filled(path)
    if filled is None:
        raise DataError(f"{path}: was imported without means for missing values: expected one with --missing")
    before = read_feature_names(path)
    if filled.fill.size != n_features:
        raise DataError(f"{where}: {n_features} features: expected {filled.fill.size}, as in {path}")
    if names is not None and before is not None:
        for number, (name, other) in enumerate(zip(names, before, strict=False)):
            if name != other:
                shown = f'feature {number} is "{quoted(name, 40)}": expected "{quoted(other, 40)}", as in {path}'
                raise DataError(f"{where}: {shown}")
    return MissingValues(*filled)
