"""How many threads the kernels use, and how."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
from numba import njit, prange
from numba.np.ufunc.parallel import threading_layer as loaded_layer

from hpc_sparse.errors import MachineError

SPIN_COUNT = 2000
"""Number of times that an idle thread of GNU OpenMP looks for work before it sleeps: some ten microseconds.

Waking a thread takes 50 of them on a virtual machine, and a step has a dozen parallel loops. The more a thread looks,
the better on idle cores; but where another process wants one of them, a thread waits for its time slice while the
others burn theirs. The default, some milliseconds, is ruinous there.
"""


def use_threads(n_threads: int) -> None:
    """Let the kernels of this process compute with ``n_threads`` threads.

    The first call, before any kernel runs, also settles how idle threads wait, unless the user has.

    Raises
    ------
    MachineError
        There are not that many: numba fixes the largest number when it starts.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
    settings: Any = numba.config
    if n_threads > settings.NUMBA_NUM_THREADS:
        raise MachineError(
            f"runtime.threads = {n_threads}: this process may use {settings.NUMBA_NUM_THREADS} cores "
            "(see the launcher's binding, and NUMBA_NUM_THREADS if you have set it)"
        )
    numba.set_num_threads(n_threads)


def threads_in_use() -> int:
    """How many threads the kernels compute with, called from this thread."""
    return int(numba.get_num_threads())


@contextmanager
def at_most_threads(n_threads: int | None) -> Iterator[int]:
    """Compute with so many threads, or as many as there are if that is fewer, until the end of the block.

    Parameters
    ----------
    n_threads : int or None
        None: as many as are in use now.

    Yields
    ------
    int
        The threads in use.
    """
    before = threads_in_use()
    settings: Any = numba.config
    use_threads(before if n_threads is None else min(n_threads, settings.NUMBA_NUM_THREADS))
    try:
        yield threads_in_use()
    finally:
        numba.set_num_threads(before)


def threading_layer() -> str:
    """The library numba's threads come from; starts them."""
    _start_threads(numba.get_num_threads())
    return str(loaded_layer())


@njit(parallel=True, cache=True)
def _start_threads(n):
    total = 0
    for i in prange(n):
        total += i
    return total
