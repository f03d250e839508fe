"""Rows of a matrix that the ranks hold together, each a range of them: whoever needs a row asks its owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, AnyArray, Int64Array
from hpc_sparse.parallel import collectives
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.transfer import as_bytes
from hpc_sparse.partition import chunk_ranges

if TYPE_CHECKING:
    import scipy.sparse

Matrix: TypeAlias = "AnyArray | scipy.sparse.csr_array"
"""Dense rows [n, n_columns], or compressed sparse ones."""


def fetch_rows(ctx: ParallelContext, bounds: Int64Array, own: Matrix, wanted: Int64Array) -> Matrix:
    """The rows that this rank wants, in the order in which it names them (collective).

    Parameters
    ----------
    ctx : ParallelContext
    bounds : int64[size + 1]
        Rank r has the rows ``bounds[r]:bounds[r + 1]``.
    own : matrix
        Rows of this rank; of one kind on all ranks.
    wanted : int64[n]
        Numbers of rows, any number of times; only these travel.
    """
    if ctx.size == 1:
        return own[wanted]
    owner = np.searchsorted(bounds, wanted, side="right") - 1
    order = np.argsort(owner, kind="stable")
    cuts = np.searchsorted(owner[order], np.arange(1, ctx.size))
    asked = exchange(ctx, np.split(np.ascontiguousarray(wanted[order], OFFSET), cuts))
    answers = [own[rows - bounds[ctx.rank]] for rows in asked]
    place = np.empty(order.size, OFFSET)
    place[order] = np.arange(order.size)
    if isinstance(own, np.ndarray):
        got = exchange(ctx, [np.ascontiguousarray(each).reshape(-1) for each in answers])
        return np.concatenate(got).reshape(wanted.size, own.shape[1])[place]
    return _sparse_rows(ctx, answers, own.shape[1])[place]


def exchange(ctx: ParallelContext, parts: Sequence[AnyArray]) -> list[AnyArray]:
    """What each rank has for this one, by rank (collective).

    Parameters
    ----------
    ctx : ParallelContext
    parts : sequence of 1-D arrays, one per rank
        What this rank has for each; all of one type, also on other ranks.
    """
    if ctx.comm is None or ctx.size == 1:
        return [parts[0]]
    sizes, received_sizes = np.array([part.size for part in parts], OFFSET), np.empty(ctx.size, OFFSET)
    ctx.comm.Alltoall(sizes, received_sizes)
    received = [np.empty(int(size), parts[0].dtype) for size in received_sizes]
    received[ctx.rank] = parts[ctx.rank]
    requests = []
    for distance in range(1, ctx.size):
        source, target = (ctx.rank - distance) % ctx.size, (ctx.rank + distance) % ctx.size
        requests += [ctx.comm.Irecv(piece, source=source) for piece in _pieces(received[source])]
        requests += [ctx.comm.Isend(piece, dest=target) for piece in _pieces(np.ascontiguousarray(parts[target]))]
    for request in requests:
        request.Wait()
    return received


def _pieces(array: AnyArray) -> list[AnyArray]:
    buffer = as_bytes(array)
    return [buffer[start:stop] for start, stop in chunk_ranges(0, buffer.size, collectives.CHUNK_BYTES)]


def _sparse_rows(
    ctx: ParallelContext, answers: Sequence[scipy.sparse.csr_array], n_columns: int
) -> scipy.sparse.csr_array:
    """The sparse rows that all ranks send, one rank's after the other's (collective)."""
    import scipy.sparse  # noqa: PLC0415 - training imports this package, and SciPy takes long

    counts, indices, values = (
        np.concatenate(exchange(ctx, parts))
        for parts in (
            [np.diff(each.indptr).astype(OFFSET) for each in answers],
            [each.indices.astype(INDEX, copy=False) for each in answers],
            [each.data for each in answers],
        )
    )
    indptr = np.concatenate([np.zeros(1, OFFSET), np.cumsum(counts, dtype=OFFSET)])
    return scipy.sparse.csr_array((values, indices, indptr), shape=(counts.size, n_columns))
