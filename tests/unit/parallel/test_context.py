"""Contexts without MPI, and what launchers say."""

from __future__ import annotations

import sys

import pytest

from hpc_sparse.errors import MachineError
from hpc_sparse.parallel import context
from hpc_sparse.parallel.context import ParallelContext, available_cores, core_share, launched_ranks, start_mpi
from hpc_sparse.parallel.describe import describe_mpi

SLURM_VARIABLES = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    names = (*context.LAUNCHER_SIZE_VARIABLES, *context.LAUNCHER_RANK_VARIABLES, *SLURM_VARIABLES)
    names += context.CORE_LIMIT_VARIABLES
    for name in names:
        monkeypatch.delenv(name, raising=False)


def test_one_process_is_root_of_itself():
    ctx = ParallelContext.serial(threads=3)
    assert ctx.is_root
    assert (ctx.rank, ctx.size, ctx.node_rank, ctx.node_size, ctx.threads) == (0, 1, 0, 1, 3)
    assert ctx.comm is ctx.node_comm is None


def test_without_a_number_all_cores_of_the_process_are_used():
    assert ParallelContext.serial().threads == available_cores() >= 1


def test_without_a_launcher_mpi_is_not_started(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert launched_ranks() is None
    assert start_mpi(threads=1) == ParallelContext.serial(threads=1)


@pytest.mark.parametrize("name", context.LAUNCHER_SIZE_VARIABLES)
def test_the_launcher_says_how_many_ranks_there_are(monkeypatch, name):
    monkeypatch.setenv(name, "3")
    assert launched_ranks() == 3


@pytest.mark.parametrize("name", SLURM_VARIABLES)
def test_slurm_counts_only_inside_a_launched_rank(monkeypatch, name):
    monkeypatch.setenv(name, "4")
    assert launched_ranks() is None
    monkeypatch.setenv("PMIX_RANK", "0")
    assert launched_ranks() == 4


def test_several_ranks_without_mpi4py_are_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(MachineError, match="started as 2 MPI ranks, but mpi4py cannot be used"):
        start_mpi()
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    assert start_mpi(threads=1).comm is None


def test_tasks_of_srun_that_do_not_know_each_other_are_refused(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(MachineError, match=r"srun started 2 tasks that do not know each other.*--mpi=pmix"):
        start_mpi()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert start_mpi(threads=1).comm is None


@pytest.mark.parametrize(
    ("cores", "shares"),
    [
        ([range(8)], [8]),
        ([range(8)] * 3, [2, 2, 2]),
        ([range(8)] * 20, [1] * 20),
        ([(0, 1), (2, 3), (4, 5, 6)], [2, 2, 3]),
        # Two ranks per socket, each bound to its whole socket.
        ([range(4), range(4), range(4, 8), range(4, 8)], [2, 2, 2, 2]),
        # Thirds of three cores are one core, exactly.
        ([(0, 1, 2)] * 3, [1, 1, 1]),
        ([range(3 * 49)] * 49, [3] * 49),
        ([(0, 1, 2), (2, 3)], [2, 1]),
    ],
)
def test_ranks_share_the_cores_that_they_may_run_on(cores, shares):
    assert [core_share(cores, rank) for rank in range(len(cores))] == shares


@pytest.mark.parametrize("name", context.CORE_LIMIT_VARIABLES)
@pytest.mark.parametrize(("limit", "n_cores"), [("3", 3), ("100", 8), ("0", 8), ("", 8), ("2(x4)", 8)])
def test_the_environment_limits_the_cores(monkeypatch, name, limit, n_cores):
    monkeypatch.setattr(context, "_allowed_cores", lambda: tuple(range(8)))
    monkeypatch.setenv(name, limit)
    assert available_cores() == n_cores


def test_a_process_without_mpi_is_described():
    described = describe_mpi(ParallelContext.serial(threads=1))
    assert described["mpi"].startswith("not started")
    assert len(described["ranks"]) == 1
    assert described["ranks"][0].endswith("1 thread")
