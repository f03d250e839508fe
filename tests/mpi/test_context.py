"""Who takes part: contexts made from a communicator and from a launcher."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import MachineError
from hpc_sparse.parallel import context
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext, cores_of_node, start_mpi


@pytest.mark.mpi(ranks=[1, 3])
def test_a_context_is_a_private_duplicate_that_knows_its_node_and_shares_out_its_cores(
    comm: Any, mpi_ranks: int
) -> None:
    from mpi4py import MPI

    ctx = ParallelContext.from_comm(comm)
    assert (ctx.rank, ctx.size, ctx.is_root) == (comm.Get_rank(), mpi_ranks, comm.Get_rank() == 0)
    assert (ctx.node_rank, ctx.node_size) == (ctx.rank, ctx.size)
    assert MPI.Comm.Compare(ctx.comm, comm) == MPI.CONGRUENT
    threads = gather_objects(ctx, ctx.threads)
    assert min(threads) >= 1
    assert sum(threads) <= max(len(os.sched_getaffinity(0)), mpi_ranks)
    assert ParallelContext.from_comm(comm, threads=7).threads == 7


@pytest.mark.mpi(ranks=[1, 3])
def test_a_node_has_the_cores_that_any_of_its_ranks_may_run_on(
    ctx: ParallelContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first is everybody's; each has one of its own besides.
    monkeypatch.setattr(context, "_allowed_cores", lambda: (40, 50 + ctx.rank))
    assert cores_of_node(ctx) == 1 + ctx.size
    assert cores_of_node(ParallelContext.serial(threads=1)) == 2


@pytest.mark.mpi(ranks=[2])
def test_messages_of_a_context_do_not_meet_those_of_its_communicator(comm: Any, ctx: ParallelContext) -> None:
    assert ctx.comm is not None
    received = np.zeros(1, np.int64)
    other = 1 - ctx.rank
    outer = comm.Isend(np.array([1]), other)
    inner = ctx.comm.Isend(np.array([2]), other)
    ctx.comm.Recv(received, other)
    assert received[0] == 2
    comm.Recv(received, other)
    assert received[0] == 1
    outer.Wait()
    inner.Wait()


@pytest.mark.mpi(ranks=[2])
def test_starting_mpi_gives_all_ranks_or_says_that_the_launcher_belongs_to_another_mpi(
    mpi_ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start_mpi(threads=1).size == mpi_ranks
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "5")
    with pytest.raises(MachineError, match=r"launcher started 5 ranks, but mpi4py sees 2: .* different MPI libraries"):
        start_mpi(threads=1)
