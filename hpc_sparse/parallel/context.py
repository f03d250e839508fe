"""Who takes part in a run: the explicit first argument of everything collective."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from hpc_sparse.errors import MachineError

if TYPE_CHECKING:
    from mpi4py import MPI

LAUNCHER_SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "PALS_SIZE")
LAUNCHER_RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "MV2_COMM_WORLD_RANK", "PALS_RANKID")


@dataclass(frozen=True)
class ParallelContext:
    """One rank's view of the ranks that train together.

    Attributes
    ----------
    comm : mpi4py.MPI.Comm or None
        Private duplicate of the communicator it was made from; None without MPI.
    node_comm : mpi4py.MPI.Comm or None
        The ranks of ``comm`` that share this rank's node; None without MPI.
    rank, size : int
        This rank and the number of ranks.
    node_rank, node_size : int
        The same within the node.
    threads : int
        Threads this rank computes with.
    """

    comm: MPI.Intracomm | None
    node_comm: MPI.Intracomm | None
    rank: int
    size: int
    node_rank: int
    node_size: int
    threads: int

    @classmethod
    def serial(cls, threads: int | None = None) -> ParallelContext:
        """The context of one process without MPI; mpi4py is not imported."""
        return cls(None, None, 0, 1, 0, 1, threads or available_cores())

    @classmethod
    def from_comm(cls, comm: MPI.Intracomm, threads: int | None = None) -> ParallelContext:
        """The context of the ranks of ``comm`` (collective).

        Without ``threads``, the cores that this rank may use are counted: its own where the
        launcher bound it to some, else an equal share of the node's.
        """
        from mpi4py import MPI  # noqa: PLC0415  (importing it starts MPI)

        own = comm.Dup()
        own.Set_errhandler(MPI.ERRORS_RETURN)
        node = cast("MPI.Intracomm", own.Split_type(MPI.COMM_TYPE_SHARED, own.Get_rank()))
        return cls(
            own,
            node,
            own.Get_rank(),
            own.Get_size(),
            node.Get_rank(),
            node.Get_size(),
            threads or _own_cores(node.Get_size()),
        )

    @property
    def is_root(self) -> bool:
        """Whether this is rank 0, which prints and writes small files."""
        return self.rank == 0


def launched_ranks() -> int | None:
    """Number of ranks an MPI launcher says it started, or None without a launcher.

    Reads the launcher's environment; does not start MPI.
    """
    for name in LAUNCHER_SIZE_VARIABLES:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    if any(name in os.environ for name in LAUNCHER_RANK_VARIABLES):
        return int(os.environ.get("SLURM_STEP_NUM_TASKS", os.environ.get("SLURM_NTASKS", "1")))
    return None


def launched_rank() -> int | None:
    """Rank that an MPI launcher says it gave this process, or None without a launcher; does not start MPI."""
    for name in LAUNCHER_RANK_VARIABLES:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return None


def start_mpi(threads: int | None = None) -> ParallelContext:
    """Start MPI if a launcher started this process, and return the context of all its ranks (collective).

    Raises
    ------
    MachineError
        A launcher started several ranks but mpi4py is missing, or it loaded another MPI
        library than the launcher's, so that every rank believes it is alone.
    """
    expected = launched_ranks()
    if expected is None:
        return ParallelContext.serial(threads)
    try:
        from mpi4py import MPI  # noqa: PLC0415  (importing it starts MPI)
    except (ImportError, RuntimeError) as error:
        if expected == 1:
            return ParallelContext.serial(threads)
        raise MachineError(
            f"started as {expected} MPI ranks, but mpi4py cannot be used ({error}): "
            "install the extra 'mpi' (pip install 'hpc-sparse[mpi]') and an MPI library"
        ) from None
    if MPI.COMM_WORLD.Get_size() != expected:
        raise MachineError(
            f"the launcher started {expected} ranks, but mpi4py sees {MPI.COMM_WORLD.Get_size()}: mpirun and "
            f"mpi4py belong to different MPI libraries ({MPI.Get_library_version().split(',')[0].strip()})"
        )
    return ParallelContext.from_comm(MPI.COMM_WORLD, threads)


def available_cores() -> int:
    """Cores this process may run on: its affinity, not what the machine has, and at most NUMBA_NUM_THREADS if set."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    limit = os.environ.get("NUMBA_NUM_THREADS", "")
    return min(n_cores, int(limit)) if limit.isdigit() and int(limit) else n_cores


def _own_cores(n_ranks_on_node: int) -> int:
    available = available_cores()
    is_bound = available < (os.cpu_count() or 1)
    return available if is_bound else max(1, available // n_ranks_on_node)
