"""Parts of a network in one process: a thread each, of which one computes at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.network.partitioned.exchange import Exchange

Result = TypeVar("Result")
MOST_SECONDS = 300


class _Meeting:
    """Where the parts meet; whoever waits lets another one compute."""

    def __init__(self, n_parts: int) -> None:
        self.n_parts, self.turn = n_parts, threading.Condition()
        self.sent: list[Sequence[AnyArray]] = [()] * n_parts
        self.n_waiting, self.round, self.error = 0, 0, list[BaseException]()

    def wait_for_all(self) -> None:
        self.n_waiting += 1
        if self.n_waiting == self.n_parts:
            self.n_waiting, self.round = 0, self.round + 1
            self.turn.notify_all()
            return
        here = self.round
        assert self.turn.wait_for(lambda: self.round > here or self.error, MOST_SECONDS)
        if self.round == here:
            raise RuntimeError("another part has failed") from self.error[0]


class ThreadExchange(Exchange):
    """Messages between threads."""

    def __init__(self, meeting: _Meeting, part: int, *, shares_memory: bool) -> None:
        self.part, self.n_parts, self._meeting = part, meeting.n_parts, meeting
        self.shares_memory, self.shared = shares_memory, dict[int, Sequence[AnyArray]]()

    def share(self, size: int, dtype: type[np.generic]) -> AnyArray:
        own = aligned_empty(max(1, size), dtype)[:size]
        if self.shares_memory:
            self._meeting.sent[self.part] = [own]
            self._meeting.wait_for_all()
            self.shared[own.ctypes.data] = [array for (array,) in self._meeting.sent]
            self._meeting.wait_for_all()
        return own

    def wait(self) -> None:
        if self.shares_memory:
            self._meeting.wait_for_all()

    def swap(self, sends: Sequence[AnyArray], receives: Sequence[AnyArray]) -> None:
        meeting = self._meeting
        meeting.sent[self.part] = sends
        meeting.wait_for_all()
        for other, received in enumerate(receives):
            if other != self.part:
                assert meeting.sent[other][self.part].dtype == received.dtype
                received[:] = meeting.sent[other][self.part]
        meeting.wait_for_all()


def in_parts(n_parts: int, work: Callable[[Exchange], Result], *, shares_memory: bool = False) -> list[Result]:
    """What ``work`` gives on each of so many parts, which may read each other's rows in place."""
    meeting = _Meeting(n_parts)
    found: dict[int, Result] = {}

    def run(part: int) -> None:
        with meeting.turn:
            try:
                found[part] = work(ThreadExchange(meeting, part, shares_memory=shares_memory))
            except BaseException as error:  # noqa: BLE001  (raised below)
                meeting.error.append(error)
                meeting.turn.notify_all()

    threads = [threading.Thread(target=run, args=(part,)) for part in range(n_parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if meeting.error:
        raise meeting.error[0]
    return [found[part] for part in range(n_parts)]
