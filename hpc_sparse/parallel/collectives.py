"""The few collective operations everything else is built from.

Arrays travel as buffers in chunks, so that counts beyond 2^31 work with any MPI library; pickled
objects carry small control data only. With one rank every function returns at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import numpy as np

from hpc_sparse.dtypes import OFFSET, AnyArray, Int64Array
from hpc_sparse.errors import HpcSparseError, MachineError, RankError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import chunk_ranges

if TYPE_CHECKING:
    from mpi4py import MPI

AWAKE_SECONDS, NAP_SECONDS = 1e-3, 1e-3
"""How long a rank looks busily for the others where a wait may be long, and then sleeps between two looks."""

CHUNK_BYTES = 256 * 1024 * 1024
"""The most that one MPI call carries; small enough for every library, large enough for full bandwidth."""

Result = TypeVar("Result")
ArrayType = TypeVar("ArrayType", bound=AnyArray)


def barrier(ctx: ParallelContext) -> None:
    """Wait for every rank (collective)."""
    if ctx.comm is not None:
        ctx.comm.Barrier()


def patient_barrier(ctx: ParallelContext) -> None:
    """Wait for every rank, soon asleep, so that those that still work have the cores (collective)."""
    if ctx.comm is None or ctx.size == 1:
        return
    request = ctx.comm.Ibarrier()
    deadline = time.perf_counter() + AWAKE_SECONDS
    while not request.Test():
        if time.perf_counter() > deadline:
            time.sleep(NAP_SECONDS)


def broadcast_object(ctx: ParallelContext, value: Any) -> Any:
    """Root's ``value`` on every rank (collective); for small control data only."""
    return value if ctx.comm is None else ctx.comm.bcast(value, root=0)


def gather_objects(ctx: ParallelContext, value: Any) -> list[Any]:
    """Every rank's ``value``, by rank, on every rank (collective); for small control data only."""
    return [value] if ctx.comm is None else ctx.comm.allgather(value)


def on_root(ctx: ParallelContext, function: Callable[[], Result]) -> Result:
    """Run ``function`` on root alone and give every rank its result, or its error (collective).

    The first tier of error handling: root looks, everybody gets the verdict.
    """
    if ctx.size == 1:
        return function()
    result, failure = None, None
    if ctx.is_root:
        try:
            result = function()
        except Exception as error:  # noqa: BLE001  (handed to every rank and raised there)
            failure = error if isinstance(error, HpcSparseError) else _described(ctx, "", error)
    patient_barrier(ctx)
    result, failure = broadcast_object(ctx, (result, failure))
    if failure is not None:
        raise failure
    return cast("Result", result)


@contextmanager
def collective_errors(ctx: ParallelContext, doing: str) -> Iterator[None]:
    """Let rank-local work fail on all ranks together (collective).

    If the body raises on any rank, every rank raises on leaving it. Errors of :mod:`hpc_sparse.errors` are raised as
    they are, others as a :class:`RankError` that names the rank. The body must not contain collective calls.

    Parameters
    ----------
    ctx : ParallelContext
    doing : str
        What the body does, for the message: "reading the shard".
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # shared with all ranks and raised below
        if ctx.size == 1:
            raise
        failure = error if isinstance(error, HpcSparseError) else _described(ctx, doing, error)
    patient_barrier(ctx)
    failures = [other for other in gather_objects(ctx, failure) if other is not None]
    if failures:
        raise failures[0] from failure


@contextmanager
def errors_of_groups(ctx: ParallelContext) -> Iterator[None]:
    """Let what fails in one group of ``ctx.data`` fail on all ranks (collective).

    The body may contain calls that are collective over ``ctx.data`` and fail on all ranks of it alike.
    """
    if ctx.model.size == 1:
        yield
        return
    with collective_errors(ctx, "in its group"):
        yield


def all_reduce_sum(ctx: ParallelContext, array: AnyArray) -> None:
    """Replace a contiguous 1-D ``array`` by its sum over the ranks, in place and in chunks (collective).

    Every rank receives the same bits.
    """
    if ctx.comm is None or ctx.size == 1:
        return
    from mpi4py import MPI  # noqa: PLC0415

    for start, stop in chunk_ranges(0, array.size, _chunk_items(array)):
        ctx.comm.Allreduce(MPI.IN_PLACE, array[start:stop], op=MPI.SUM)


class PendingSum:
    """The sum over the ranks of a contiguous 1-D array, on its way.

    The array belongs to this object until :meth:`wait` returns it.

    Parameters
    ----------
    array : array
    requests : sequence of MPI.Request
        Of the reductions of its chunks.
    """

    def __init__(self, array: AnyArray, requests: Sequence[MPI.Request]) -> None:
        self._array, self._requests = array, requests

    @classmethod
    def start(cls, ctx: ParallelContext, array: AnyArray) -> PendingSum:
        """The sum of ``array``, which is overwritten (collective)."""
        if ctx.comm is None or ctx.size == 1:
            return cls(array, [])
        from mpi4py import MPI  # noqa: PLC0415

        chunks = chunk_ranges(0, array.size, _chunk_items(array))
        return cls(array, [ctx.comm.Iallreduce(MPI.IN_PLACE, array[start:stop], op=MPI.SUM) for start, stop in chunks])

    def progress(self) -> None:
        """Give the MPI library a moment."""
        for request in self._requests:
            request.Test()

    def wait(self) -> AnyArray:
        """The sum, the same bits on every rank (collective)."""
        for request in self._requests:
            request.Wait()
        return self._array


class PendingMax:
    """The largest over the ranks of a few numbers, on its way.

    Parameters
    ----------
    numbers : float64[n]
        Overwritten by the result.
    request : MPI.Request or None
        Of the reduction; None if there is none.
    """

    _under_way: ClassVar[set[PendingMax]] = set()
    """MPI writes to their numbers, also when nobody waits for them any more: until then they must stay in memory."""

    def __init__(self, numbers: AnyArray, request: MPI.Request | None) -> None:
        self._numbers, self._request = numbers, request
        if request is not None:
            self._under_way.add(self)

    @classmethod
    def start(cls, ctx: ParallelContext, numbers: Sequence[float]) -> PendingMax:
        """The largest of ``numbers``, as many on every rank (collective)."""
        own = np.array(numbers, np.float64)
        if ctx.comm is None or ctx.size == 1:
            return cls(own, None)
        from mpi4py import MPI  # noqa: PLC0415

        return cls(own, ctx.comm.Iallreduce(MPI.IN_PLACE, own, op=MPI.MAX))

    def progress(self) -> None:
        """Give the MPI library a moment, unless the numbers are there."""
        if self._request is not None and self._request.Test():
            self._request = None
            self._under_way.discard(self)

    def wait(self) -> tuple[float, ...]:
        """The numbers, the same on every rank; waits asleep if it takes long (collective)."""
        deadline = time.perf_counter() + AWAKE_SECONDS
        while self._request is not None and not self._request.Test():
            if time.perf_counter() > deadline:
                time.sleep(NAP_SECONDS)
        self._under_way.discard(self)
        return tuple(self._numbers.tolist())


def broadcast_array(ctx: ParallelContext, array: AnyArray) -> None:
    """Overwrite a contiguous 1-D ``array`` with root's, in place and in chunks (collective)."""
    if ctx.comm is None or ctx.size == 1:
        return
    for start, stop in chunk_ranges(0, array.size, _chunk_items(array)):
        ctx.comm.Bcast(array[start:stop], root=0)


def all_gather_parts(ctx: ParallelContext, part: ArrayType) -> list[ArrayType]:
    """The 1-D arrays of all ranks, by rank, on every rank (collective); lengths may differ or be 0."""
    if ctx.comm is None or ctx.size == 1:
        return [part]
    sizes = all_gather_counts(ctx, part.size)
    parts = []
    for rank in range(ctx.size):
        received = np.ascontiguousarray(part) if rank == ctx.rank else np.empty(sizes[rank], part.dtype)
        for start, stop in chunk_ranges(0, received.size, _chunk_items(part)):
            ctx.comm.Bcast(received[start:stop], root=rank)
        parts.append(received)
    return parts  # type: ignore[return-value]


def all_gather_counts(ctx: ParallelContext, count: int) -> Int64Array:
    """Every rank's ``count`` as int64[size] (collective)."""
    own = np.array([count], OFFSET)
    if ctx.comm is None:
        return own
    counts = np.empty(ctx.size, OFFSET)
    ctx.comm.Allgather(own, counts)
    return counts


def _chunk_items(array: AnyArray) -> int:
    return max(1, CHUNK_BYTES // array.itemsize)


def _described(ctx: ParallelContext, doing: str, error: Exception) -> HpcSparseError:
    where = f"{doing}: rank {ctx.rank} of {ctx.size}" if doing else f"rank {ctx.rank} of {ctx.size}"
    if isinstance(error, MemoryError):
        return MachineError(f"{where}: out of memory: {error}")
    return RankError(f"{where}: {type(error).__name__}: {error}")
