"""Gradients from workers to a server and parameters back: values only, as buffers.

A message is a header of fixed size followed by vectors whose sizes both sides know from the topology's version. Which
connections the values belong to is implied by that version; a topology itself travels only when it has changed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float32Array
from hpc_sparse.parallel import collectives
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import chunk_ranges

if TYPE_CHECKING:
    from mpi4py import MPI

HEADER_TAG, VECTOR_TAG = 1, 2
BUSY_POLLS = 200
"""How often the server looks for messages before it naps."""
NAP_SECONDS = 50e-6


@dataclass(frozen=True)
class GradientHeader:
    """What a worker says of a gradient.

    Attributes
    ----------
    version : int
        Of the topology it was computed on.
    base_update : int
        Updates that the weights it was computed with had seen.
    n_samples, n_correct : int
        Of its batch.
    stop_reason : int
        Why this worker's process has been asked to stop; 0 if it has not.
    loss : float
        Summed over the batch.
    compute_seconds, wait_seconds : float
        Spent on this gradient, and waiting for the server since the one before.
    """

    version: int
    base_update: int
    n_samples: int
    n_correct: int
    stop_reason: int
    loss: float
    compute_seconds: float
    wait_seconds: float


@dataclass(frozen=True)
class ReplyHeader:
    """What the server says with the parameters.

    Attributes
    ----------
    n_grants : int
        Further gradients that the worker is to send.
    version : int
        Of the topology; where the worker's is another, the new one comes before the parameters.
    base_update : int
        Updates that the parameters have seen.
    """

    n_grants: int
    version: int
    base_update: int


class ServerEnd:
    """The server's side of the exchange.

    Parameters
    ----------
    ctx : ParallelContext
    workers : sequence of int
        Their ranks.
    lets_workers_overlap : bool
        Workers compute while their replies are under way: replies are then sent from copies.
    """

    def __init__(self, ctx: ParallelContext, workers: Sequence[int], *, lets_workers_overlap: bool) -> None:
        assert ctx.comm is not None
        self._ctx, self._comm, self.workers = ctx, ctx.comm, list(workers)
        self._headers = {worker: np.empty(len(GradientHeader.__dataclass_fields__)) for worker in self.workers}
        self._requests: list[MPI.Request] = []
        self._arrived: deque[int] = deque()
        self._copies = lets_workers_overlap
        self._sent: dict[int, list[tuple[MPI.Request, AnyArray]]] = {worker: [] for worker in self.workers}
        self.n_bytes = 0

    def open(self) -> None:
        """Be ready for the workers' gradients."""
        self._requests = [self._expect(worker) for worker in self.workers]

    def close(self) -> None:
        """Finish what has been sent; expects no gradient any more."""
        for worker in self.workers:
            self._finish_sending(worker)
        for request in self._requests:
            request.Cancel()
            request.Wait()
        self._requests = []

    def next_worker(self, do_idle_work: Callable[[], bool]) -> int:
        """The rank whose gradient has arrived first.

        Parameters
        ----------
        do_idle_work : callable
            Called while none is there; does a little of something else, and says whether there was any.
        """
        self._wait_until(lambda: bool(self._arrived), do_idle_work)
        return self._arrived.popleft()

    def wait_for(self, worker: int, do_idle_work: Callable[[], bool]) -> None:
        """Return when the gradient of one worker has arrived."""
        self._wait_until(lambda: worker in self._arrived, do_idle_work)
        self._arrived.remove(worker)

    def header(self, worker: int) -> GradientHeader:
        """The header of a gradient that has arrived."""
        numbers = self._headers[worker]
        return GradientHeader(*(int(number) for number in numbers[:5]), *(float(number) for number in numbers[5:]))

    def receive(self, worker: int, gradient: Float32Array) -> None:
        """Receive the vector that follows the header of ``worker``."""
        _receive_vector(self._comm, gradient, worker)
        self.n_bytes += gradient.nbytes
        self._requests[self.workers.index(worker)] = self._expect(worker)

    def reply(self, worker: int, header: ReplyHeader, topology: Sequence[AnyArray], values: Float32Array) -> None:
        """Send parameters, after the arrays of a new ``topology`` if there are any."""
        self._finish_sending(worker)
        numbers = np.array([*astuple(header), len(topology)], np.int64)
        for array in (numbers, *_with_sizes(topology), values):
            sent = array.copy() if self._copies and array is values else array
            requests = (
                [self._comm.Isend(sent, worker, HEADER_TAG)]
                if array is numbers
                else [self._comm.Isend(part, worker, VECTOR_TAG) for part in _parts(sent)]
            )
            if self._copies:
                self._sent[worker] += [(request, sent) for request in requests]
            else:
                for request in requests:
                    request.Wait()
        self.n_bytes += values.nbytes + sum(array.nbytes for array in topology)

    def _wait_until(self, is_there: Callable[[], bool], do_idle_work: Callable[[], bool]) -> None:
        n_polls = 0
        while not is_there():
            if self._poll() or do_idle_work():
                continue
            n_polls += 1
            if n_polls > BUSY_POLLS:
                time.sleep(NAP_SECONDS)

    def _expect(self, worker: int) -> MPI.Request:
        return self._comm.Irecv(self._headers[worker], worker, HEADER_TAG)

    def _poll(self) -> bool:
        from mpi4py import MPI  # noqa: PLC0415

        arrived = MPI.Request.Testsome(self._requests) or []
        self._arrived.extend(self.workers[index] for index in arrived)
        return bool(arrived)

    def _finish_sending(self, worker: int) -> None:
        for request, _ in self._sent[worker]:
            request.Wait()
        self._sent[worker] = []


class WorkerEnd:
    """A worker's side of the exchange with rank ``server``."""

    def __init__(self, ctx: ParallelContext, server: int) -> None:
        assert ctx.comm is not None
        self._comm, self._server = ctx.comm, server
        self._sent: deque[list[tuple[MPI.Request, AnyArray]]] = deque()

    def send(self, header: GradientHeader, gradient: Float32Array) -> None:
        """Start sending; ``gradient`` must stay as it is until its reply has come."""
        numbers = np.array(astuple(header))
        sent: list[tuple[Any, AnyArray]] = [(self._comm.Isend(numbers, self._server, HEADER_TAG), numbers)]
        sent += [(self._comm.Isend(part, self._server, VECTOR_TAG), part) for part in _parts(gradient)]
        self._sent.append(sent)

    def receive_header(self) -> tuple[ReplyHeader, list[AnyArray]]:
        """The next reply's header, and the arrays of a new topology if one has come with it."""
        numbers = np.empty(4, np.int64)
        self._comm.Recv(numbers, self._server, HEADER_TAG)
        topology = _receive_with_sizes(self._comm, int(numbers[3]), self._server)
        if self._sent:
            for request, _ in self._sent.popleft():
                request.Wait()
        return ReplyHeader(*(int(number) for number in numbers[:3])), topology

    def receive_values(self, values: Float32Array) -> None:
        """The parameters of the reply, into ``values``."""
        _receive_vector(self._comm, values, self._server)


def _with_sizes(arrays: Sequence[AnyArray]) -> list[AnyArray]:
    """The arrays (int64 or int32), after one that says how long and how wide each is."""
    if not arrays:
        return []
    return [np.array([(array.size, array.itemsize) for array in arrays], np.int64).reshape(-1), *arrays]


def _receive_with_sizes(comm: MPI.Intracomm, n_arrays: int, source: int) -> list[AnyArray]:
    if not n_arrays:
        return []
    sizes = np.empty(2 * n_arrays, np.int64)
    _receive_vector(comm, sizes, source)
    arrays: list[AnyArray] = []
    for size, itemsize in sizes.reshape(-1, 2).tolist():
        array = np.empty(size, f"i{itemsize}")
        _receive_vector(comm, array, source)
        arrays.append(array)
    return arrays


def _receive_vector(comm: MPI.Intracomm, vector: AnyArray, source: int) -> None:
    for part in _parts(vector):
        comm.Recv(part, source, VECTOR_TAG)


def _parts(vector: AnyArray) -> list[AnyArray]:
    items = max(1, collectives.CHUNK_BYTES // vector.itemsize)
    return [vector[start:stop] for start, stop in chunk_ranges(0, vector.size, items)]
