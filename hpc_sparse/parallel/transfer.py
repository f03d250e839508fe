"""Arrays from one rank to another, as buffers and in chunks, so that any size works."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import AnyArray, UInt8Array
from hpc_sparse.parallel import collectives
from hpc_sparse.parallel.collectives import collective_errors, gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import chunk_ranges


def send_array(ctx: ParallelContext, array: AnyArray, destination: int) -> None:
    """Send a C-contiguous ``array`` to rank ``destination``, which calls :func:`receive_array`."""
    assert ctx.comm is not None, "there is no other rank without MPI"
    buffer = as_bytes(array)
    for start, stop in chunk_ranges(0, buffer.size, collectives.CHUNK_BYTES):
        ctx.comm.Send(buffer[start:stop], dest=destination)


def receive_array(ctx: ParallelContext, array: AnyArray, source: int) -> None:
    """Overwrite a C-contiguous ``array`` with what rank ``source`` sends; equal size in bytes on both sides."""
    assert ctx.comm is not None, "there is no other rank without MPI"
    buffer = as_bytes(array)
    for start, stop in chunk_ranges(0, buffer.size, collectives.CHUNK_BYTES):
        ctx.comm.Recv(buffer[start:stop], source=source)


def gather_rows(ctx: ParallelContext, rows: AnyArray) -> AnyArray:
    """All ranks' rows, one rank's after the other's, on root; none on other ranks (collective).

    Parameters
    ----------
    ctx : ParallelContext
    rows : C-contiguous [n, ...]
        As many as a rank has; all else is the same on all ranks.
    """
    if ctx.size == 1:
        return rows
    counts = gather_objects(ctx, rows.shape[0])
    with collective_errors(ctx, "making room for the rows of all ranks"):
        gathered = np.empty((sum(counts) if ctx.is_root else 0, *rows.shape[1:]), rows.dtype)
    if not ctx.is_root:
        send_array(ctx, rows, 0)
        return gathered
    gathered[: counts[0]] = rows
    start = counts[0]
    for rank in range(1, ctx.size):
        receive_array(ctx, gathered[start : start + counts[rank]], rank)
        start += counts[rank]
    return gathered


def as_bytes(array: AnyArray) -> UInt8Array:
    """The bytes of a C-contiguous array, for MPI, without a copy."""
    assert array.flags.c_contiguous, "MPI buffers must be contiguous"
    return array.reshape(-1).view(np.uint8)
