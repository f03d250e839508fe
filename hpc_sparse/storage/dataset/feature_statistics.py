"""Statistics of the training part's features, gathered block by block."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, AnyArray, Float32Array
from hpc_sparse.errors import MachineError
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features

CHUNK_VALUES = 1 << 18
"""Values that are turned into float64 at a time; at least one row."""

MOST_ROWS = 4096


class FeatureStatistics:
    """Mean, deviation, range and nonzero values of features that come in blocks of rows.

    Means and squared deviations of two sets of rows are merged as by Chan, Golub, LeVeque (1979); all in float64.

    Attributes
    ----------
    n_rows : int
    nonzero : int64[n_features]
        Rows in which the feature is not 0.
    lowest, highest : float32[n_features]
        Bounds of each dense feature.

    Raises
    ------
    MachineError
        There is not enough memory for so many features.
    """

    def __init__(self, n_features: int) -> None:
        self.n_rows = 0
        try:
            self.nonzero = np.zeros(n_features, OFFSET)
            self.lowest = np.full(n_features, np.inf, VALUE)
            self.highest = np.full(n_features, -np.inf, VALUE)
            self._total = np.zeros(n_features)
            self._squares = np.zeros(n_features)
        except MemoryError as error:
            raise MachineError(f"{n_features:,} features: not enough memory for their statistics") from error
        self._range_of_stored = (np.inf, -np.inf)

    def add(self, features: Features) -> None:
        """Take in more rows; all blocks are dense, or all are sparse."""
        if isinstance(features, DenseFeatures):
            most_rows = min(MOST_ROWS, max(1, CHUNK_VALUES // max(1, features.n_features)))
            for start, stop in chunk_ranges(0, features.n_samples, most_rows):
                self._add_dense(features.values[start:stop])
        else:
            self._add_sparse(features)

    def mean(self) -> Float32Array:
        """Mean of each dense feature, float32[n_features]."""
        return (self._total / self.n_rows).astype(VALUE)

    def deviation(self) -> Float32Array:
        """Standard deviation of each dense feature, float32[n_features]; 1 for a feature that never changes."""
        deviation = np.sqrt(self._squares / self.n_rows).astype(VALUE)
        deviation[(self.lowest == self.highest) | (deviation == 0)] = 1
        return deviation

    def value_range(self) -> tuple[float, float]:
        """Least and greatest value of all; of sparse features the values that are not stored count as 0."""
        lowest, highest = self._range_of_stored
        if self.nonzero.sum() < self.n_rows * self.nonzero.size:
            lowest, highest = min(lowest, 0.0), max(highest, 0.0)
        return min(lowest, float(self.lowest.min())), max(highest, float(self.highest.max()))

    def _add_dense(self, rows: AnyArray) -> None:
        n_new = rows.shape[0]
        self.nonzero += np.count_nonzero(rows, axis=0)
        self.lowest = np.minimum(self.lowest, rows.min(axis=0))
        self.highest = np.maximum(self.highest, rows.max(axis=0))
        values = rows.astype(np.float64)
        total = values.sum(axis=0)
        values -= total / n_new
        self._squares += np.square(values, out=values).sum(axis=0)
        if self.n_rows:
            difference = total / n_new - self._total / self.n_rows
            self._squares += np.square(difference) * (self.n_rows * n_new / (self.n_rows + n_new))
        self._total += total
        self.n_rows += n_new

    def _add_sparse(self, features: CsrFeatures) -> None:
        self.n_rows += features.n_samples
        self.nonzero += np.bincount(features.indices[features.values != 0], minlength=self.nonzero.size)
        if features.values.size:
            lowest, highest = self._range_of_stored
            stored = float(features.values.min()), float(features.values.max())
            self._range_of_stored = min(lowest, stored[0]), max(highest, stored[1])
