"""Messages between the parts of one network over MPI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpc_sparse.dtypes import AnyArray, Int64Array
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.parallel.collectives import CHUNK_BYTES, all_reduce_sum
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import chunk_ranges

if TYPE_CHECKING:
    from mpi4py import MPI


class MpiExchange(Exchange):
    """Messages between the ranks that hold one network together, point to point and only where there is something.

    Parameters
    ----------
    ctx : ParallelContext
        The ranks of ``ctx.model``; each holds the part of its number.
    """

    def __init__(self, ctx: ParallelContext) -> None:
        self._ctx, self.part, self.n_parts = ctx, ctx.rank, ctx.size

    def swap(self, sends: Sequence[AnyArray], receives: Sequence[AnyArray]) -> None:
        """Overwrite ``receives`` by what the other parts send here (collective)."""
        comm = self._ctx.comm
        if comm is None or self.n_parts == 1:
            return
        requests: list[MPI.Request] = []
        for arrays, begin in ((receives, comm.Irecv), (sends, comm.Isend)):
            for other, array in enumerate(arrays):
                if other != self.part:
                    # Messages of a pair arrive in the order in which they were sent.
                    chunks = chunk_ranges(0, array.size, max(1, CHUNK_BYTES // array.itemsize))
                    requests += [begin(array[start:stop], other) for start, stop in chunks]
        for request in requests:
            request.Wait()

    def totals(self, numbers: Int64Array) -> Int64Array:
        """int64[n]: sums over all parts of their ``numbers``, int64[n] (collective)."""
        found = numbers.copy()
        all_reduce_sum(self._ctx, found)
        return found
