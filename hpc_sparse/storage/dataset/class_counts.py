"""Check of the loaded labels against the stored numbers of samples per class."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import OFFSET, Int32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.parallel.collectives import all_reduce_sum, collective_errors, gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import DatasetInfo

Rows = tuple[int, int]
"""First row and the one after the last."""


def check_class_counts(ctx: ParallelContext, info: DatasetInfo, part: str, rows: Rows, labels: Int32Array) -> None:
    """Count the labels that the ranks have loaded of a part and compare (collective).

    Checked if a rank has loaded every row, or if the ranks' rows together cover the part exactly once.

    Parameters
    ----------
    ctx : ParallelContext
    info : DatasetInfo
    part : "train" or "test"
    rows : (start, stop)
        Rows of this rank's samples.
    labels : int32[stop - start], or [stop - start, time_steps]
        Each the number of a class; -1 of steps without any.

    Raises
    ------
    DataError
        On every rank: the labels do not fit what is stored.
    """
    stored = np.array(info.class_counts_train if part == "train" else info.class_counts_test, OFFSET)
    n_samples = info.n_train if part == "train" else info.n_test
    own = np.bincount(labels[labels >= 0], minlength=stored.size).astype(OFFSET)
    has_all = rows == (0, n_samples)
    of_the_others = np.zeros_like(own) if has_all else own.copy()
    all_reduce_sum(ctx, of_the_others)
    shards = [each for each in gather_objects(ctx, rows) if each != (0, n_samples)]
    with collective_errors(ctx, f"counting the labels of {info.path}"):
        if has_all:
            _check(info, part, own, stored)
        elif _covers_once(shards, n_samples):
            _check(info, part, of_the_others, stored)


def _covers_once(shards: list[Rows], n_rows: int) -> bool:
    """Whether every row is in exactly one shard."""
    reached = 0
    for start, stop in sorted(shard for shard in shards if shard[0] < shard[1]):
        if start != reached:
            return False
        reached = stop
    return reached == n_rows


def _check(info: DatasetInfo, part: str, found: Int64Array, stored: Int64Array) -> None:
    wrong = np.flatnonzero(found != stored)
    if wrong.size:
        label = int(wrong[0])
        raise DataError(
            f"{info.path}: {part}/labels: {found[label]} samples of class {label}: expected {stored[label]}, as in "
            "statistics/class_counts"
        )
