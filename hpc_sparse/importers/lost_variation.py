"""Features that all samples have most of in common, such as time stamps: float32 loses what tells samples apart."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from hpc_sparse.errors import quoted
from hpc_sparse.storage.dataset.feature_summary import read_feature_names
from hpc_sparse.storage.dataset.file import read_statistics

LOST = 2.0**-16
"""Deviation as a share of the mean, below which float32 keeps few different values of a feature."""

LOG = logging.getLogger(__name__)


def warn_of_lost_variation(path: Path | str) -> None:
    """Log a warning about an imported data set with features of that kind."""
    statistics = read_statistics(path)
    if statistics is None:
        return
    mean, deviation = (each.astype(np.float64) for each in statistics)
    is_lost = (deviation < LOST * np.abs(mean)) & (deviation != 1)  # a deviation of 0 is stored as 1
    if not is_lost.any():
        return
    first, n_others = int(np.argmax(is_lost)), np.count_nonzero(is_lost) - 1
    names = read_feature_names(path)
    LOG.warning(
        "%s: %s%s: mean %.9g, deviation %.3g: float32, which features are stored in, keeps few of its values apart; "
        "subtract an origin from it before the import",
        path,
        f"feature {first}" if names is None else f'feature "{quoted(names[first], 40)}"',
        f" and {n_others} more" if n_others else "",
        mean[first],
        deviation[first],
    )
