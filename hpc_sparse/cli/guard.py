"""End of a command's process: one message, the right exit code, and no rank left waiting."""

from __future__ import annotations

import ctypes
import logging
import math
import signal
import sys
import time
import traceback
from array import array
from collections.abc import Callable

import typer

from hpc_sparse.errors import HpcSparseError, printable
from hpc_sparse.parallel.context import ParallelContext, launched_rank, launched_ranks, start_mpi

GRACE_SECONDS = 5.0
"""Time for all ranks to fail alike; after it, a rank that failed aborts the whole job."""

END_SECONDS = 9
"""Limit for the end of MPI and other libraries once all ranks leave after an error or a request to stop."""

END_WELL_SECONDS = 60
"""The same once the work is done, which a machine with too much to do must not make a failure of."""

SECONDS_AFTER_ROOT = 3
"""Extra time that the other ranks wait for the end of MPI, beyond root's."""

EXIT_CRASHED = 1
EXIT_OUT_OF_MEMORY = 2
EXIT_INTERRUPTED = 130

CLOCK_MONOTONIC = 1
NOTIFY_BY_THREAD = 2
"""Linux's SIGEV_THREAD: when the timer runs out, a new thread of the C library calls a function."""


def guarded(work: Callable[[ParallelContext], None]) -> None:
    """Run a command's work; end the process with one message and the right code, and never leave ranks waiting."""
    ctx = ParallelContext.serial(threads=1)
    try:
        ctx = start_mpi()
        if not ctx.is_root:
            # Root alone speaks, unless a run is told otherwise: what is read on every rank is noted once.
            logging.getLogger("hpc_sparse").addHandler(logging.NullHandler())
        work(ctx)
    except HpcSparseError as error:
        _leave_together(ctx, f"hpc-sparse: {error}", error.exit_code)
    except MemoryError as error:
        _leave_together(ctx, f"hpc-sparse: not enough memory: {error}", EXIT_OUT_OF_MEMORY)
    except KeyboardInterrupt:
        _leave_together(ctx, "hpc-sparse: interrupted", EXIT_INTERRUPTED)
    except Exception:  # noqa: BLE001  (third tier: say what happened, then end the job)
        print(f"{_name(ctx)}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        _abort(ctx, EXIT_CRASHED)
    else:
        # Others may have work left, so this can take long.
        _do_all_leave(ctx, 0, math.inf)
        _end_in_time(ctx, END_WELL_SECONDS, 0)


def _name(ctx: ParallelContext) -> str:
    """The name of this rank in a message; before MPI has started, the launcher knows it."""
    if ctx.comm is None and (rank := launched_rank()) is not None:
        return f"rank {rank} of {launched_ranks()}"
    return f"rank {ctx.rank} of {ctx.size}"


def _leave_together(ctx: ParallelContext, message: str, exit_code: int) -> None:
    """Leave after root has printed the message; if the other ranks do not leave alike, end the job instead."""
    message = printable(message)
    if ctx.is_root:
        print(message, file=sys.stderr, flush=True)
    if not _do_all_leave(ctx, exit_code, GRACE_SECONDS):
        print(f"{message} ({_name(ctx)} alone)", file=sys.stderr, flush=True)
        _abort(ctx, exit_code)
    _end_in_time(ctx, END_SECONDS, exit_code)
    raise typer.Exit(exit_code)


def _do_all_leave(ctx: ParallelContext, exit_code: int, seconds: float) -> bool:
    """Whether every rank comes here within ``seconds``, and with the same exit code."""
    if ctx.comm is None or ctx.size == 1:
        return True
    from mpi4py import MPI

    # On a communicator of its own: a rank that does not leave may be in a barrier of the context's.
    own, extremes = array("q", (exit_code, -exit_code)), array("q", (0, 0))
    request = MPI.COMM_WORLD.Iallreduce(own, extremes, op=MPI.MAX)
    deadline = time.monotonic() + seconds
    while not request.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return extremes[0] == -extremes[1]


def _end_in_time(ctx: ParallelContext, seconds: int, exit_code: int) -> None:
    """End this process with ``exit_code`` if MPI or another library still keeps it after ``seconds``.

    MPI ends while it holds Python's lock, so no Python thread or signal handler can watch the time. A timer of the C
    library calls ``_exit`` instead; where there is none, an alarm ends the process with the exit code of signals. Root
    leaves first, and the launcher then ends the others: Open MPI's launcher sometimes crashes if several leave at once.
    """
    seconds += 0 if ctx.is_root else SECONDS_AFTER_ROOT
    if ctx.comm is not None and not _exit_later(seconds, exit_code):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)


class _Notification(ctypes.Structure):
    """C's ``struct sigevent`` on Linux: ``function(value)`` is called in a new thread."""

    _fields_ = (
        ("value", ctypes.c_size_t),
        ("signal_number", ctypes.c_int),
        ("how", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("padding", ctypes.c_char * 32),
    )


class _TimerSetting(ctypes.Structure):
    """C's ``struct itimerspec``: once after ``seconds``."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


def _exit_later(seconds: int, exit_code: int) -> bool:
    """Have the C library call ``_exit(exit_code)`` after ``seconds``; whether it can."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "timer_create"):  # glibc before 2.34 keeps it in a library of its own
        return False
    end = ctypes.cast(library["_exit"], ctypes.c_void_p)
    notification = _Notification(exit_code, 0, NOTIFY_BY_THREAD, end.value, None, b"")
    timer = ctypes.c_void_p()
    if library.timer_create(CLOCK_MONOTONIC, ctypes.byref(notification), ctypes.byref(timer)) != 0:
        return False
    return bool(library.timer_settime(timer, 0, ctypes.byref(_TimerSetting(0, 0, seconds, 0)), None) == 0)


def _abort(ctx: ParallelContext, exit_code: int) -> None:
    if ctx.comm is not None and ctx.size > 1:
        time.sleep(0.5)
        ctx.comm.Abort(exit_code)
    raise typer.Exit(exit_code)
