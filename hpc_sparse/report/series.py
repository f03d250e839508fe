"""A metric over the epochs of one or several runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import Float64Array, Int64Array
from hpc_sparse.monitor.metrics import EpochMetrics


@dataclass(frozen=True)
class Band:
    """Mean and deviation over runs of the same experiment, at the epochs that all of them have.

    Attributes
    ----------
    epochs : int64[n]
    mean : float64[n]
    deviation : float64[n] or None
        Standard deviation of the runs (n - 1); None of a single run.
    """

    epochs: Int64Array
    mean: Float64Array
    deviation: Float64Array | None

    @property
    def has_values(self) -> bool:
        """Whether there is anything to show."""
        return bool(np.isfinite(self.mean).any())


def band(histories: Sequence[Sequence[EpochMetrics]], value: Callable[[EpochMetrics], float]) -> Band:
    """The band of one metric; runs that have no epoch at all do not count.

    Parameters
    ----------
    histories : sequence of (sequence of EpochMetrics)
        One per run.
    value : callable
        Value shown of an epoch.
    """
    by_run = [{metrics.epoch: float(value(metrics)) for metrics in history} for history in histories if history]
    common = sorted(set.intersection(*map(set, by_run))) if by_run else []
    values = np.array([[run[epoch] for epoch in common] for run in by_run], np.float64).reshape(
        len(by_run), len(common)
    )
    deviation = values.std(axis=0, ddof=1) if len(by_run) > 1 else None
    mean = values.mean(axis=0) if by_run else np.empty(0)
    return Band(np.array(common, np.int64), mean, deviation)
