"""Sections ``[checkpoint]`` and ``[runtime]``."""

from __future__ import annotations

from typing import Literal

from hpc_sparse.config.section import Count, NonNegative, Positive, PositiveCount, Section


class CheckpointSection(Section):
    """Times at which checkpoints are written, and number that is kept."""

    every_epochs: PositiveCount = 10
    """Epochs between checkpoints; the last epoch always writes one."""

    keep_last: PositiveCount = 2
    """Number of newest checkpoints kept, besides the best one on the validation (or else the test) part."""


class RuntimeSection(Section):
    """The machine, and what is shown; nothing here changes what a run computes."""

    threads: Count = 0
    """Threads per rank; 0: all cores that belong to the rank."""

    hdf5: Literal["auto", "mpio", "serial"] = "auto"
    """HDF5 back end: mpio needs h5py built with MPI; serial lets root write; auto takes mpio where it can."""

    log: Literal["debug", "info", "warning"] = "info"
    """The least level of log messages shown."""

    time_limit: NonNegative = 0.0
    """Seconds after which the run writes a checkpoint and stops with exit code 75, to be resumed; 0 for none."""

    stop_within: Positive = 5.0
    """Seconds in which a signal (SIGTERM, SIGUSR1, SIGINT) or the limit is followed, give or take an evaluation."""

    stall_timeout: NonNegative = 0.0
    """Seconds without a sign of life or a step of a rank after which the job ends and names it; 0: wait forever."""

    oversubscribe: bool = False
    """Allow more ranks on a node than it has cores."""

    memory_check: bool = True
    """Refuse, before anything is allocated, a run that will not fit into the memory its nodes have left."""
