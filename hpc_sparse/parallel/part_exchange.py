"""Messages between the parts of one network over MPI."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from hpc_sparse.dtypes import AnyArray, Int64Array
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.parallel.collectives import CHUNK_BYTES, all_reduce_sum
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.shared_arrays import can_share, shared_arrays
from hpc_sparse.partition import chunk_ranges

if TYPE_CHECKING:
    from mpi4py import MPI

MOST_SHARING = 8
"""Parts whose rows are read in place: finding a row takes one comparison for each."""


class MpiExchange(Exchange):
    """Messages between the ranks that hold one network together, point to point and only where there is something.

    On one node they read each other's activations and deltas in place, if they are not too many and the system lets
    them. Making one is collective.

    Parameters
    ----------
    ctx : ParallelContext
        The ranks of ``ctx.model``; each holds the part of its number.
    shares_memory : bool
        Whether to read in place where that is possible.
    """

    def __init__(self, ctx: ParallelContext, *, shares_memory: bool = True) -> None:
        self._ctx, self.part, self.n_parts = ctx, ctx.rank, ctx.size
        self._shared: dict[int, list[AnyArray]] = {}
        self.shared = MappingProxyType(self._shared)
        is_one_node = ctx.comm is not None and ctx.size == ctx.node_size and 1 < ctx.size <= MOST_SHARING
        self.shares_memory = shares_memory and is_one_node and ctx.comm is not None and can_share(ctx.comm)

    def share(self, size: int, dtype: type[np.generic]) -> AnyArray:
        """An array [size] for the own part, which the others can read if memory is shared (collective)."""
        if not self.shares_memory or self._ctx.comm is None:
            return super().share(size, dtype)
        arrays = shared_arrays(self._ctx.comm, size, dtype)
        own, address = arrays[self.part], arrays[self.part].ctypes.data
        arrays[self.part] = own[:0].copy()  # or it would never go
        self._shared[address] = arrays
        weakref.finalize(own, self._shared.pop, address)
        return own

    def wait(self) -> None:
        """Wait for all parts if memory is shared (collective)."""
        if self.shares_memory and self._ctx.comm is not None:
            self._ctx.comm.Barrier()

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
