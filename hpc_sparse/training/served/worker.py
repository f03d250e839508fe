"""A worker of WASAP-SGD and WASSP-SGD in phase 1: computes gradients for the server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from hpc_sparse.dtypes import AnyArray, Float32Array, Int64Array
from hpc_sparse.inputs.batches import shuffled_batches
from hpc_sparse.monitor.position import Phase
from hpc_sparse.network.optimizers.clipping import clip
from hpc_sparse.network.parameters import ParameterLayout, gather_network
from hpc_sparse.parallel.gradient_exchange import GradientHeader, ReplyHeader, WorkerEnd
from hpc_sparse.parallel.replication import take_topology
from hpc_sparse.storage.dataset.samples import Samples, n_scored
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.shard_batches import ShardBatches


class Worker:
    """Computes as many gradients as the server grants, each with the newest parameters it has.

    Parameters
    ----------
    job : TrainingJob
        Its network takes the server's parameters; the states stay with the server.
    n_under_way : int
        Gradients whose replies are awaited while the next is computed, plus one: 1 to wait for each reply.
    """

    def __init__(self, job: TrainingJob, n_under_way: int) -> None:
        self._job, self._n_under_way = job, n_under_way
        self._source = ShardBatches(job)
        self._objective = job.objective
        self._end = WorkerEnd(job.ctx, server=0)
        self._header = ReplyHeader(0, 0, 0)
        self._mark, self._waited = time.perf_counter(), 0.0
        self._values = gather_network(job.replica.network)
        self._gradients = self._make_gradients()
        self._widths = job.replica.network.widths
        self._workspace, self._assembler = job.make_workspace(), job.make_assembler()

    def work(self, n_batches_before: int) -> None:
        """Work until the server grants nothing more.

        Parameters
        ----------
        n_batches_before : int
            Batches of its shard that this worker has behind it, over all passes; it goes on with the next.
        """
        batches = self._batches(n_batches_before)
        self._lap()
        n_owed, n_awaited = 0, 1
        while n_owed or n_awaited:
            if n_owed and n_awaited < self._n_under_way:
                self._send_gradient(*next(batches))
                n_owed, n_awaited = n_owed - 1, n_awaited + 1
            else:
                self._receive()
                n_owed, n_awaited = n_owed + self._header.n_grants, n_awaited - 1

    def _batches(self, n_before: int) -> Iterator[tuple[int, int, Samples, Int64Array]]:
        """Pass over the shard, step within it, samples, and which of them the batch consists of, without end."""
        shard, training = self._job.dataset.train, self._job.config.training
        n_steps = -(-shard.n_samples // training.batch_size)
        number, first_step = n_before // n_steps + 1, n_before % n_steps
        while True:
            batches = shuffled_batches(
                shard.n_samples, training.batch_size, training.seed, number, self._job.ctx.replica
            )
            prepared = self._source.batches(number, batches[first_step:])
            for step, (samples, chosen) in enumerate(prepared, first_step):
                yield number, step, samples, chosen
            number, first_step = number + 1, 0

    def _make_gradients(self) -> list[tuple[Float32Array, list[dict[str, Float32Array]]]]:
        """Vectors of gradients, each with its views by layer and parameter, as many as may be under way."""
        layout = ParameterLayout.of(self._job.replica.network)
        vectors = [layout.new_vector() for _ in range(self._n_under_way)]
        return [(vector, layout.views(vector)) for vector in vectors]

    def _adopt(self, topology: Sequence[AnyArray]) -> None:
        """Go on with a new topology, as it was sent; its values are still to come."""
        network = self._job.replica.network
        take_topology(network, topology)
        self._values = gather_network(network)
        self._gradients = self._make_gradients()
        if self._widths != network.widths:
            self._widths = network.widths
            self._workspace, self._assembler = self._job.make_workspace(), self._job.make_assembler()

    def _send_gradient(self, number: int, step: int, samples: Samples, chosen: Int64Array) -> None:
        self._job.tracker.at(Phase.TRAINING, number, step + 1)
        vector, views = self._gradients[0]
        self._gradients = [*self._gradients[1:], self._gradients[0]]
        batch, labels = self._assembler.assemble(samples, chosen)
        dropouts = self._job.dropouts(number, step)
        outcome = self._job.replica.network.gradient_batch(
            batch, labels, self._objective, dropouts, self._workspace, views
        )
        clip_norm = self._job.config.optimizer.clip_norm
        if clip_norm is not None:
            clip(vector, clip_norm)
        header = GradientHeader(
            version=self._header.version,
            base_update=self._header.base_update,
            n_samples=n_scored(labels),
            n_correct=outcome.n_correct,
            stop_reason=self._job.stop_request.reason,
            loss=outcome.loss,
            compute_seconds=self._lap(),
            wait_seconds=self._waited,
        )
        self._job.tracker.at(Phase.WAITING, step=step + 1)
        self._end.send(header, vector)
        self._waited = self._lap()

    def _receive(self) -> None:
        self._header, topology = self._end.receive_header()
        if topology:
            self._adopt(topology)
        self._end.receive_values(self._values)
        self._waited += self._lap()

    def _lap(self) -> float:
        """Seconds since the last call."""
        before, self._mark = self._mark, time.perf_counter()
        return self._mark - before
