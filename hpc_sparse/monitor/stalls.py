"""Ending a job in which a rank stands still: stopped, swapped out, stuck in a system call, or all wait for each other.

Every rank has a thread that exchanges signs of life with root's (:mod:`hpc_sparse.monitor.heartbeat`); no thread
calls MPI. Root's judges all ranks, the others watch root. The first to find a stall says so and ends its process;
the launcher then ends the others, also a stopped one.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from hpc_sparse.errors import RankError
from hpc_sparse.monitor.heartbeat import N_FAREWELLS, Heartbeat, RankEnd, RootEnd
from hpc_sparse.monitor.position import Position, PositionTracker
from hpc_sparse.parallel.collectives import broadcast_object, collective_errors, patient_barrier
from hpc_sparse.parallel.context import ParallelContext

LOG = logging.getLogger(__name__)

MOST_SECONDS_BETWEEN_SIGNS = 1.0
SIGNS_PER_TIMEOUT = 8
FACTOR_WITHOUT_STEPS = 10
"""By so much longer may a rank that answers be in a phase that knows no steps, such as reading the data."""
MOST_NAMED = 8
"""Ranks that a message names."""
SECONDS_BETWEEN_REPORTS = 2.0
"""By so much later a rank reports that root is silent than the one before it; only the first is to be heard."""
MOST_SECONDS_TO_REPORT = 10.0

End = Callable[[str], None]
"""Ends the process with a message; in tests it only takes note."""


@dataclass
class Watched:
    """State of a watched rank. Times are those of the watch that is awake (see :class:`StallWatch`)."""

    position: Position
    heard_at: float
    moved_at: float
    has_left: bool = False

    def take(self, heartbeat: Heartbeat, now: float) -> None:
        """Note a heartbeat."""
        if heartbeat.position.number != self.position.number:
            self.moved_at = now
        self.position, self.heard_at, self.has_left = heartbeat.position, now, self.has_left or heartbeat.has_left


def find_stall(ranks: Mapping[int, Watched], n_ranks: int, now: float, seconds: float, margin: float) -> str | None:
    """Message that names the stalled ranks; None if there are none.

    Parameters
    ----------
    ranks : mapping of int to Watched
        All that have ever been heard.
    n_ranks : int
    now, seconds : float
        The time, and for how long a rank may stand still.
    margin : float
        Extra seconds for ranks that still answer: a silent rank is then found first.
    """
    present = {rank: watched for rank, watched in ranks.items() if not watched.has_left}
    silent = [rank for rank, watched in present.items() if now - watched.heard_at > seconds]
    if silent:
        has = "has" if len(silent) == 1 else "have"
        return f"{_named(silent, n_ranks)} {has} not answered for {seconds:g} s (last: {present[min(silent)].position})"
    still = [rank for rank, watched in present.items() if now - watched.moved_at > _patience(watched, seconds) + margin]
    stuck = [rank for rank in still if present[rank].position.phase.is_own_work]
    if stuck:
        has = "has" if len(stuck) == 1 else "have"
        return f"{_named(stuck, n_ranks)} {has} made no progress for {seconds:g} s ({present[min(stuck)].position})"
    if present and len(still) == len(present):
        last = min(still, key=lambda rank: (present[rank].position.number, rank))
        return f"no rank has made progress for {seconds:g} s; furthest behind: rank {last} ({present[last].position})"
    return None


def _patience(watched: Watched, seconds: float) -> float:
    return seconds if watched.position.phase.has_steps else seconds * FACTOR_WITHOUT_STEPS


def _named(ranks: list[int], n_ranks: int) -> str:
    names = ", ".join(str(rank) for rank in sorted(ranks)[:MOST_NAMED])
    more = f" and {len(ranks) - MOST_NAMED} more" if len(ranks) > MOST_NAMED else ""
    return f"rank{'s' if len(ranks) > 1 else ''} {names}{more} of {n_ranks}"


class StallWatch:
    """The thread of one rank.

    Time counts only while this process is awake: where all ranks were suspended together, nobody has stood still.

    Parameters
    ----------
    ctx : ParallelContext
    seconds : float
        For how long a rank may stand still.
    tracker : PositionTracker
        Tracker of this rank.
    line : RootEnd or RankEnd or None
        To the other ranks; None if there are none.
    end : End
    """

    def __init__(
        self, ctx: ParallelContext, seconds: float, tracker: PositionTracker, line: RootEnd | RankEnd | None, end: End
    ) -> None:
        self._ctx, self._seconds, self._tracker, self._line, self._end = ctx, seconds, tracker, line, end
        self._interval = min(MOST_SECONDS_BETWEEN_SIGNS, seconds / SIGNS_PER_TIMEOUT)
        self._ranks = {0: Watched(tracker.position, 0.0, 0.0)} if ctx.is_root else {}
        self._clock, self._is_over = 0.0, threading.Event()
        self._has_warned = False
        self._thread = threading.Thread(target=self._run, name="stall watch", daemon=True)

    def start(self) -> None:
        """Watch from now on, having heard of every rank that can be heard (collective)."""
        # Root can answer only whom it has heard, and who was never heard is not watched: not even if it stops at once.
        for is_roots_turn in (False, True, False):
            if self._ctx.is_root == is_roots_turn:
                self.look(0.0)
            patient_barrier(self._ctx)
        self._thread.start()

    def stop(self) -> None:
        """Take leave of the other ranks."""
        self._is_over.set()
        self._thread.join()
        if self._line is not None:
            for _ in range(N_FAREWELLS):
                self._line.exchange(Heartbeat(self._ctx.rank, self._tracker.position, has_left=True))
            self._line.close()

    def _run(self) -> None:
        before = time.monotonic()
        while not self._is_over.wait(self._interval):
            now = time.monotonic()
            self.look(min(now - before, 2 * self._interval))
            before = now

    def look(self, seconds_passed: float) -> None:
        """Exchange signs of life and judge, so much later than the last time."""
        self._clock += seconds_passed
        own = Heartbeat(self._ctx.rank, self._tracker.position)
        for heartbeat in [] if self._line is None else self._line.exchange(own):
            watched = self._ranks.setdefault(heartbeat.rank, Watched(heartbeat.position, self._clock, self._clock))
            watched.take(heartbeat, self._clock)
        if self._ctx.is_root:
            self._ranks[0].take(own, self._clock)
            self._warn_of_unheard()
            stall = find_stall(self._ranks, self._ctx.size, self._clock, self._seconds, 2 * self._interval)
        else:
            stall = self._find_silent_root()
        if stall is not None:
            self._end(stall)

    def _find_silent_root(self) -> str | None:
        patience = min(MOST_SECONDS_TO_REPORT, SECONDS_BETWEEN_REPORTS * (self._ctx.rank - 1))
        root = self._ranks.get(0)
        if root is None or root.has_left or self._clock - root.heard_at <= self._seconds + patience:
            return None
        return find_stall({0: root}, self._ctx.size, self._clock, self._seconds, 0.0)

    def _warn_of_unheard(self) -> None:
        """Say once who cannot be watched: a firewall, or machines that do not know each other's addresses."""
        unheard = set(range(self._ctx.size)) - set(self._ranks)
        if unheard and not self._has_warned and self._clock > self._seconds:
            self._has_warned = True
            LOG.warning(
                "runtime.stall_timeout: no sign of life (UDP) has come from %s; they are not watched",
                _named(sorted(unheard), self._ctx.size),
            )


def end_process(stall: str) -> NoReturn:
    """Say what stalled and end this process at once: its main thread may be in a call that never returns."""
    text = (
        f"hpc-sparse: {stall}; ending the job (runtime.stall_timeout); "
        "the same command with --resume auto goes on from the newest checkpoint\n"
    )
    os.write(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2, text.encode())
    os._exit(RankError.exit_code)


@contextmanager
def stall_watch(
    ctx: ParallelContext, seconds: float, tracker: PositionTracker, end: End = end_process
) -> Iterator[None]:
    """Watch over the ranks in the body (collective); 0 ``seconds`` for no watch."""
    if not seconds:
        yield
        return
    watch = StallWatch(ctx, seconds, tracker, _meet(ctx), end)
    watch.start()
    try:
        yield
    finally:
        watch.stop()


def _meet(ctx: ParallelContext) -> RootEnd | RankEnd | None:
    """Open the sockets and tell every rank where root's is (collective)."""
    if ctx.size == 1:
        return None
    root_end = None
    with collective_errors(ctx, "runtime.stall_timeout: opening a socket"):
        if ctx.is_root:
            root_end = RootEnd(ctx.size, is_one_node=ctx.node_size == ctx.size)
    meeting = broadcast_object(ctx, None if root_end is None else root_end.meeting)
    with collective_errors(ctx, "runtime.stall_timeout: opening a socket"):
        return root_end or RankEnd(meeting)
