"""Exchange of a server with its workers: who owes a gradient, who waits for an answer, who has which topology."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hpc_sparse.dtypes import Float32Array
from hpc_sparse.parallel.gradient_exchange import GradientHeader, ReplyHeader, ServerEnd
from hpc_sparse.training.served.parameters import ServedParameters

IdleWork = Callable[[], bool]
"""Does a little of something else while no gradient is there; whether there was any."""


class ReceivedGradient(NamedTuple):
    """Gradient of a worker.

    Attributes
    ----------
    worker : int
        Its rank.
    header : GradientHeader
    vector : float32[parameters of the topology it was computed on]
        Overwritten by the next one.
    """

    worker: int
    header: GradientHeader
    vector: Float32Array


class WorkerExchange:
    """Exchange with all workers, each of which is sent the parameters whenever it has sent a gradient.

    Parameters
    ----------
    end : ServerEnd
    workers : sequence of int
        Their ranks.
    parameters : ServedParameters
    n_under_way : int
        Gradients that a worker may owe at a time.

    Attributes
    ----------
    workers : list of int
    stop_reason : int
        Reason to stop of the first worker that told one; 0 if none has.
    """

    def __init__(self, end: ServerEnd, workers: Sequence[int], parameters: ServedParameters, n_under_way: int) -> None:
        self._end, self._parameters, self._n_under_way = end, parameters, n_under_way
        self.workers = list(workers)
        self.stop_reason = 0
        self._n_owed = dict.fromkeys(self.workers, 0)
        self._unanswered = set(self.workers)
        self._held = {worker: deque([0], maxlen=n_under_way) for worker in self.workers}

    @property
    def n_bytes(self) -> int:
        """Bytes sent and received so far."""
        return self._end.n_bytes

    def open(self) -> None:
        """Be ready for gradients."""
        self._end.open()

    def close(self) -> None:
        """Finish what has been sent; expects no gradient any more."""
        self._end.close()

    def next_gradient(self, do_idle_work: IdleWork) -> ReceivedGradient:
        """The gradient that has arrived first."""
        return self._receive(self._end.next_worker(do_idle_work))

    def gradient_of(self, worker: int, do_idle_work: IdleWork) -> ReceivedGradient:
        """The next gradient of one worker."""
        self._end.wait_for(worker, do_idle_work)
        return self._receive(worker)

    def answer(self, n_updates: int, n_needed: int) -> None:
        """Send what is new to all that wait for it, and grant gradients.

        Parameters
        ----------
        n_updates : int
            Updates that the parameters have seen.
        n_needed : int
            Gradients still needed of all workers together, with those that are owed.
        """
        for worker in sorted(self._unanswered):
            self._answer(worker, n_updates, n_needed)

    def send_home(self, n_updates: int) -> None:
        """Grant no more, and take the gradients that are still under way without looking at them."""
        self.answer(n_updates, 0)
        while any(self._n_owed.values()):
            self.next_gradient(lambda: False)
            self.answer(n_updates, 0)

    def _receive(self, worker: int) -> ReceivedGradient:
        header = self._end.header(worker)
        gradient = self._parameters.room_for(header.version)
        self._end.receive(worker, gradient)
        self.stop_reason = self.stop_reason or header.stop_reason
        self._n_owed[worker] -= 1
        self._unanswered.add(worker)
        return ReceivedGradient(worker, header, gradient)

    def _answer(self, worker: int, n_updates: int, n_needed: int) -> None:
        """Grant as many gradients as are still needed and the worker may have under way."""
        n_missing = n_needed - sum(self._n_owed.values())
        n_grants = max(0, min(n_missing, self._n_under_way - self._n_owed[worker]))
        self._n_owed[worker] += n_grants
        history, held = self._parameters.history, self._held[worker]
        topology = self._parameters.topology_arrays() if held[-1] != history.version else []
        header = ReplyHeader(n_grants, history.version, n_updates)
        self._end.reply(worker, header, topology, self._parameters.values)
        self._unanswered.discard(worker)
        held.append(history.version)
        history.forget_before(min(min(versions) for versions in self._held.values()))
