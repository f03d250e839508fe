"""Stopping as planned: on a signal or at a time limit, all ranks at the same step."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hpc_sparse.parallel.collectives import PendingMax
from hpc_sparse.parallel.context import ParallelContext

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
TIME_LIMIT = -1
"""In place of a signal's number."""

NO_PROGRESS = -2
"""The same: the run has come to its end early."""


class StopRequest:
    """Whether this process has been asked to stop."""

    def __init__(self) -> None:
        self._signal = 0
        self._deadline = float("inf")

    def set_time_limit(self, seconds: float, started: float) -> None:
        """Stop ``seconds`` after ``started`` (by :func:`time.monotonic`); 0 for no limit."""
        self._deadline = started + seconds if seconds else float("inf")

    @property
    def reason(self) -> int:
        """Number of the signal that came, :data:`TIME_LIMIT`, or 0 for none."""
        if self._signal == 0 and time.monotonic() > self._deadline:
            return TIME_LIMIT
        return self._signal

    def receive(self, number: int, _frame: FrameType | None = None) -> None:
        """Take note of a signal; a second interrupt from the keyboard ends the process as usual."""
        if self._signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number

    @contextmanager
    def listening(self, *, until_the_end: bool = False) -> Iterator[None]:
        """Receive this process's signals in the body; does nothing in a thread other than the main one.

        Parameters
        ----------
        until_the_end : bool
            Afterwards the process only ends: a signal that comes too late must not change how. Else all is as before.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.receive) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if until_the_end else handler)


def describe_reason(reason: int) -> str:
    """A stop's reason in words."""
    return "time limit" if reason == TIME_LIMIT else signal.Signals(reason).name


class StopAgreement:
    """Agreement of the ranks to stop at the same step, although only some have been asked to.

    Every k steps the ranks start a non-blocking max-reduction of their stop reasons and read it k steps later. A rank
    waits only for one that is k steps behind. k follows from the time of a step on the slowest rank.

    Parameters
    ----------
    ctx : ParallelContext
    request : StopRequest
        Stop request of this process.
    seconds : float
        Time within which a request is followed.
    """

    def __init__(self, ctx: ParallelContext, request: StopRequest, seconds: float) -> None:
        self._ctx, self._request, self._seconds = ctx, request, seconds
        self._every = self._left = self._timed_steps = 1
        self._pending: PendingMax | None = None
        self._mark = time.monotonic()

    def step(self) -> int:
        """To be called by every rank after every step; returns the reason to stop now, 0 to go on (collective)."""
        if self._ctx.size == 1:
            return self._request.reason
        self._left -= 1
        if self._left:
            return 0
        known, slowest = (0.0, 0.0) if self._pending is None else self._pending.wait()
        steps_before, self._every = self._every, self._next_interval(slowest)
        self._left = self._every
        now = time.monotonic()
        reason = self._request.reason
        # The limit counts as the largest number, so that every rank gives one and the same reason.
        own = float(signal.NSIG if reason == TIME_LIMIT else reason)
        self._pending = PendingMax.start(self._ctx, [own, now - self._mark])
        self._mark, self._timed_steps = now, steps_before
        if known:
            self._pending.wait()
            self._pending = None
        return TIME_LIMIT if known == signal.NSIG else int(known)

    def _next_interval(self, seconds: float) -> int:
        """Steps until the next exchange, when those that were timed last took so long; at most twice as many as now."""
        if seconds <= 0:
            return self._every
        return max(1, min(2 * self._every, int(self._timed_steps * self._seconds / 3 / seconds)))

    def finish(self) -> None:
        """Complete an exchange that is under way, when nobody calls :meth:`step` any more (collective)."""
        if self._pending is not None:
            self._pending.wait()
            self._pending = None
