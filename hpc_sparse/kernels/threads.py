"""How many threads the kernels use, and how."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
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
        There are not that many: numba fixes the largest number when it starts. Or the process has been forked from one
        whose threads cannot be done without.
    """
    if _fork.failure:
        raise MachineError(_fork.failure)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
    settings: Any = numba.config
    if n_threads > settings.NUMBA_NUM_THREADS:
        raise MachineError(
            f"runtime.threads = {n_threads}: this process may use {settings.NUMBA_NUM_THREADS} cores "
            "(see the launcher's binding, and NUMBA_NUM_THREADS if you have set it)"
        )
    numba.set_num_threads(min(n_threads, _fork.most_threads))


def threads_in_use() -> int:
    """How many threads the kernels compute with, called from this thread."""
    return int(numba.get_num_threads())


@contextmanager
def at_most_threads(n_threads: int | None) -> Iterator[int]:
    """Compute with so many threads, or as many as there are if that is fewer, until the end of the block.

    Where numba's threads serve one caller at a time (its layer "workqueue"), other threads that want them wait. In a
    process forked from one that had threads, there is one thread.

    Parameters
    ----------
    n_threads : int or None
        None: as many as are in use now.

    Yields
    ------
    int
        The threads in use.
    """
    if _fork.failure:
        raise MachineError(_fork.failure)
    with nullcontext() if _takes_several_callers() else _fork.one_caller:
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


class _ForkState:
    """What a forked process has to know of its parent's threads, which are gone.

    Attributes
    ----------
    most_threads : int
        Threads that kernels may compute with.
    failure : str
        Why kernels cannot run here at all, or "".
    one_caller : RLock
        Held by the only thread that may call kernels where numba serves one at a time.
    """

    def __init__(self) -> None:
        self.most_threads, self.failure = sys.maxsize, ""
        self.one_caller = threading.RLock()

    def begin_child(self) -> None:
        """Called in the child after a fork.

        GNU OpenMP never returns from a loop over threads that did not survive a fork, which numba prevents by a signal
        that ends the process. A loop over one thread needs none of them: numba is told that it begins here.
        """
        self.one_caller = threading.RLock()
        parallel: Any = import_module("numba.np.ufunc.parallel")
        try:
            if sys.platform != "linux" or parallel.threading_layer() != "omp":
                return
        except ValueError:  # no thread was ever started
            return
        try:
            launch = ctypes.CFUNCTYPE(None, ctypes.c_int)(import_module("numba.np.ufunc.omppool").launch_threads)
            launch(parallel.NUM_THREADS)
            self.most_threads = 1
            numba.set_num_threads(1)
        except (ImportError, AttributeError, TypeError) as error:
            self.failure = (
                "kernels cannot run in a process that was forked after their threads had started "
                f'({error}): use multiprocessing.get_context("spawn") or "forkserver", or joblib'
            )


def _takes_several_callers() -> bool:
    """Whether several threads may call kernels at the same time; starts numba's threads."""
    numba.get_num_threads()
    return str(loaded_layer()) != "workqueue"


_fork = _ForkState()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork.begin_child)
