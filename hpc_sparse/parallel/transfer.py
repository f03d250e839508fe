"""Arrays from one rank to another, as buffers and in chunks, so that any size works."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import AnyArray, UInt8Array
from hpc_sparse.parallel import collectives
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import chunk_ranges


def send_array(ctx: ParallelContext, array: AnyArray, destination: int) -> None:
    """Send a C-contiguous ``array`` to rank ``destination``, which calls :func:`receive_array`."""
    assert ctx.comm is not None, "there is no other rank without MPI"
    buffer = _as_bytes(array)
    for start, stop in chunk_ranges(0, buffer.size, collectives.CHUNK_BYTES):
        ctx.comm.Send(buffer[start:stop], dest=destination)


def receive_array(ctx: ParallelContext, array: AnyArray, source: int) -> None:
    """Overwrite a C-contiguous ``array`` with what rank ``source`` sends; equal size in bytes on both sides."""
    assert ctx.comm is not None, "there is no other rank without MPI"
    buffer = _as_bytes(array)
    for start, stop in chunk_ranges(0, buffer.size, collectives.CHUNK_BYTES):
        ctx.comm.Recv(buffer[start:stop], source=source)


def _as_bytes(array: AnyArray) -> UInt8Array:
    assert array.flags.c_contiguous, "MPI buffers must be contiguous"
    return array.reshape(-1).view(np.uint8)
