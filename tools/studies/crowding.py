"""Slow-down of a rank's steps while the other cores of its node train too and share the memory bandwidth."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from statistics import median

from hpc_sparse.config import RunConfig
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.planning.prediction import predict
from hpc_sparse.storage.dataset.samples import DatasetInfo

MEETING_SECONDS = 60.0
"""Within which all processes must have started; an error is better than a wait for one that has died."""

_all_there: Barrier


def crowded_step(config: RunConfig, size: NetworkSize, info: DatasetInfo, n_processes: int) -> float:
    """Seconds of a step, the median over processes of one thread each that measure at the same time.

    Parameters
    ----------
    config : RunConfig
    size : NetworkSize
    info : DatasetInfo
    n_processes : int
        At most as many as there are cores, else they would measure each other's time slices.
    """
    if n_processes > (n_cores := len(os.sched_getaffinity(0))):
        raise ValueError(f"n_processes = {n_processes}: expected at most one per core, of which there are {n_cores}")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(n_processes)
    with context.Pool(n_processes, initializer=_meet_at, initargs=(barrier,)) as pool:
        return median(pool.starmap(_step, [(config, size, info)] * n_processes, chunksize=1))


def _meet_at(barrier: Barrier) -> None:
    global _all_there  # noqa: PLW0603 - a barrier reaches a process of a pool in no other way
    _all_there = barrier


def _step(config: RunConfig, size: NetworkSize, info: DatasetInfo) -> float:
    use_threads(1)
    _all_there.wait(MEETING_SECONDS)
    return predict(ParallelContext.serial(threads=1), config, size, info, 1).step
