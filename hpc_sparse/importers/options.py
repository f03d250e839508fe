"""Options of every import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Report: TypeAlias = Callable[[str, int, int], None]
"""Callback ``(activity, done, total)`` for the progress; the unit depends on the activity."""


Missing: TypeAlias = Literal["refuse", "mean", "flag"]
"""What becomes of missing values."""


def report_nothing(doing: str, done: int, total: int) -> None:
    """Ignore the progress."""


@dataclass(frozen=True)
class ImportOptions:
    """Division, preparation, order and title of samples.

    Attributes
    ----------
    title : str or None
        Title of the data set; by default the name of the source.
    test_fraction : float
        Share of the samples for testing, where the source does not say which.
    split_seed : int
        Seed of that division.
    stratified : bool
        Whether each class gives that share of its samples; else any samples are taken.
    order_seed : int
        Seed of the order in which training samples are stored.
    log2 : bool
        Replace each value x of dense features by log2(max(x, 1)): for intensities of microarrays.
    tf_idf : bool
        Weigh the term counts of sparse features; see :mod:`hpc_sparse.importers.tf_idf`.
    time_steps : int
        Steps of each sample, if it is a sequence: each has an equal part of the features, in their order.
    overwrite : bool
        Whether an existing file may be replaced.
    report : callable
        Callback for the progress.
    target_sum : float or None
        Scale the counts of each sample to this sum, then take log(1 + x): for single cells.
    missing : {"refuse", "mean", "flag"}
        What becomes of missing values of tables: an error; the mean of the feature in the training part; or the mean,
        and a further feature that says where they are, for each feature that misses some there.
    filled_as : Path or None
        A data set whose means and flags are taken instead, for samples that come later.
    """

    title: str | None = None
    test_fraction: float = 0.2
    split_seed: int = 0
    stratified: bool = True
    order_seed: int = 0
    log2: bool = False
    tf_idf: bool = False
    time_steps: int = 1
    overwrite: bool = False
    report: Report = report_nothing
    target_sum: float | None = None
    missing: Missing = "refuse"
    filled_as: Path | None = None

    def steps(self) -> str:
        """The preparation in words, to follow the name of the source."""
        scaled = "" if self.target_sum is None else f", log1p of counts per {self.target_sum:.9g}"
        by = {"refuse": "", "mean": ", missing values by means", "flag": ", missing values by means with flags"}
        counts = (", tf-idf" if self.tf_idf else "") + scaled
        return (", log2(max(x, 1))" if self.log2 else "") + counts + by[self.missing]
