"""Arrays that all ranks of a node can read where they are."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import MachineError

if TYPE_CHECKING:
    from mpi4py import MPI

TOKEN_BYTES = 16


def shared_arrays(comm: MPI.Intracomm, size: int, dtype: type[np.generic]) -> list[AnyArray]:
    """Arrays of all ranks of a communicator within a node, in the order of ranks (collective).

    They begin on a page, their numbers are 0, and their memory goes when no rank has them any more: no name is left
    behind, whatever happens to a rank. Each is anonymous memory, which the others open through the owner's process.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
    size : int
        Of the own array; sizes may differ.
    dtype : type
        The same on all ranks.

    Raises
    ------
    MachineError
        On all ranks: the system has no such memory, or does not let a rank see that of another one.
    """
    own = -1
    problem = ""
    try:
        own = os.memfd_create("hpc_sparse")  # Linux alone has it
        os.ftruncate(own, _n_bytes(size, dtype))
    except (OSError, AttributeError) as error:
        problem = str(error)
    owners: list[tuple[int, int, int]] = comm.allgather((os.getpid(), own, size))
    arrays = list[AnyArray]()
    if not problem and all(file >= 0 for _, file, _ in owners):
        try:
            arrays = [_mapped(f"/proc/{process}/fd/{file}", n, dtype) for process, file, n in owners]
        except (OSError, ValueError) as error:
            problem = str(error)
    problems = [text for text in comm.allgather(problem) if text]  # all have opened all of them
    with suppress(OSError):
        os.close(own)
    if problems:
        raise MachineError(f"memory that ranks of a node share: {problems[0]}")
    return arrays


def can_share(comm: MPI.Intracomm) -> bool:
    """Whether :func:`shared_arrays` works: each rank finds what the others have written (collective)."""
    token = os.urandom(TOKEN_BYTES)
    tokens = comm.allgather(token)
    try:
        arrays = shared_arrays(comm, TOKEN_BYTES, np.uint8)
    except MachineError:
        return False
    arrays[comm.Get_rank()][:] = np.frombuffer(token, np.uint8)
    comm.Barrier()
    is_right = [array.tobytes() for array in arrays] == tokens
    return all(comm.allgather(is_right))


def _mapped(path: str, size: int, dtype: type[np.generic]) -> AnyArray:
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        memory = mmap.mmap(file, _n_bytes(size, dtype))
    finally:
        os.close(file)
    return np.ndarray((size,), dtype, memory)


def _n_bytes(size: int, dtype: type[np.generic]) -> int:
    """Bytes to map: an empty mapping is none."""
    return max(1, size) * np.dtype(dtype).itemsize
