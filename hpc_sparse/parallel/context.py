"""Who takes part in a run: the explicit first argument of everything collective."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from hpc_sparse.errors import MachineError

if TYPE_CHECKING:
    from mpi4py import MPI

LAUNCHER_SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "PALS_SIZE")
LAUNCHER_RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "MV2_COMM_WORLD_RANK", "PALS_RANKID")
CORE_LIMIT_VARIABLES = ("NUMBA_NUM_THREADS", "SLURM_CPUS_PER_TASK")


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
    model, data : ParallelContext
        The ranks that hold one network together, and those that hold the same part of it: see :meth:`split`.
    """

    comm: MPI.Intracomm | None
    node_comm: MPI.Intracomm | None
    rank: int
    size: int
    node_rank: int
    node_size: int
    threads: int
    _model: ParallelContext | None = None
    _data: ParallelContext | None = None

    @classmethod
    def serial(cls, threads: int | None = None) -> ParallelContext:
        """The context of one process without MPI; mpi4py is not imported."""
        return cls(None, None, 0, 1, 0, 1, threads or available_cores())

    @classmethod
    def from_comm(cls, comm: MPI.Intracomm, threads: int | None = None) -> ParallelContext:
        """The context of the ranks of ``comm`` (collective).

        Default of ``threads``: the cores that this rank may run on, each divided by the number of ranks that may run on
        it. The environment can lower it.
        """
        from mpi4py import MPI  # noqa: PLC0415  (importing it starts MPI)

        own = comm.Dup()
        own.Set_errhandler(MPI.ERRORS_RETURN)
        node = cast("MPI.Intracomm", own.Split_type(MPI.COMM_TYPE_SHARED, own.Get_rank()))
        cores = node.allgather(_allowed_cores())
        return cls(
            own,
            node,
            own.Get_rank(),
            own.Get_size(),
            node.Get_rank(),
            node.Get_size(),
            threads or _within_limits(core_share(cores, node.Get_rank())),
        )

    def split(self, model: int) -> ParallelContext:
        """These ranks as a grid: ``model`` ranks hold one network together, neighbours on nodes (collective).

        Raises
        ------
        MachineError
            On every rank: the ranks cannot be divided into groups of that many.
        """
        if model < 1 or self.size % model:
            raise MachineError(f"{self.size} ranks in groups of {model}: expected a number that divides them")
        if model == 1:
            return replace(self, _model=self.serial(self.threads), _data=None)
        assert self.comm is not None
        position = self._position_by_node()
        together, alike = (self.comm.Split(color, position) for color in divmod(position, model))
        contexts = [self.from_comm(cast("MPI.Intracomm", each), self.threads) for each in (together, alike)]
        return replace(self, _model=contexts[0], _data=contexts[1])

    def _position_by_node(self) -> int:
        """Place of this rank where the ranks of a node follow each other (collective)."""
        assert self.comm is not None
        assert self.node_comm is not None
        firsts = self.comm.allgather(self.node_comm.bcast(self.rank))
        return sorted(range(self.size), key=lambda rank: (firsts[rank], rank)).index(self.rank)

    @property
    def model(self) -> ParallelContext:
        """The ranks that hold one network together: this one alone unless they were split."""
        return self._model or self.serial(self.threads)

    @property
    def data(self) -> ParallelContext:
        """The ranks that hold the same part of a network, each of its replica: all of them unless they were split."""
        return self._data or self

    @property
    def replica(self) -> int:
        """Number of this rank's replica, by which shards and random streams know it."""
        return self.data.rank

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
        A launcher started several ranks, but mpi4py is missing or has loaded another MPI library, so that every rank
        believes it is alone; or srun started several without MPI.
    """
    expected = launched_ranks()
    if expected is None:
        _check_step_has_mpi()
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
    """Cores this process may run on: its affinity, not what the machine has.

    At most NUMBA_NUM_THREADS and SLURM_CPUS_PER_TASK, where these are set: SLURM does not bind on every cluster.
    """
    return _within_limits(len(_allowed_cores()))


def cores_of_node(ctx: ParallelContext) -> int:
    """Cores that any rank of this node may run on: not all that the machine has, in a container (collective)."""
    own = _allowed_cores()
    return len(own) if ctx.node_comm is None else len(set().union(*ctx.node_comm.allgather(own)))


def core_share(cores: Sequence[Sequence[int]], rank: int) -> int:
    """How many cores a rank has to itself when ranks that may run on the same core share it evenly.

    Parameters
    ----------
    cores : sequence of sequence of int
        The cores that each rank of the node may run on.
    rank : int
        The rank within the node.

    Returns
    -------
    int
        At least 1.
    """
    n_ranks = Counter(core for allowed in cores for core in allowed)
    return max(1, int(sum(Fraction(1, n_ranks[core]) for core in cores[rank])))


def _allowed_cores() -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _within_limits(n_cores: int) -> int:
    limits = [os.environ.get(name, "") for name in CORE_LIMIT_VARIABLES]
    return min([n_cores, *(int(limit) for limit in limits if limit.isdigit() and int(limit))])


def _check_step_has_mpi() -> None:
    n_tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "")
    if n_tasks.isdigit() and int(n_tasks) > 1:
        raise MachineError(
            f"srun started {n_tasks} tasks that do not know each other: expected MPI ranks; "
            "start them with srun --mpi=pmix (srun --mpi=list tells what this cluster has)"
        )
