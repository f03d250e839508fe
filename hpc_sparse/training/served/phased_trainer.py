"""WASAP-SGD and WASSP-SGD: training around a serving rank, then workers on their own, then their average."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from hpc_sparse.errors import DataError, HpcSparseError
from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.optimizers.learning_rate import change
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.parallel.collectives import on_root
from hpc_sparse.parallel.replication import broadcast_replica, receive_network, send_network
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA
from hpc_sparse.training.evaluation import Evaluation
from hpc_sparse.training.evolution_step import needs_growth_samples
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.job import EpochsResult, MidEpochState, OnEpoch, TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.rates import learning_rate, learning_rate_alone
from hpc_sparse.training.served.server import Server, n_updates_per_epoch
from hpc_sparse.training.served.worker import Worker

LOG = logging.getLogger(__name__)


class PhasedTrainer:
    """Trainer in two phases (Curci, Mocanu, Pechenizkiy 2021).

    Phase 1: rank 0 serves, the other ranks compute gradients on their shards. Phase 2, the last epochs: every worker
    trains and evolves alone. At the end their networks are averaged over the union of their connections, then cut to
    the number of connections at the end of phase 1.

    Parameters
    ----------
    job : TrainingJob
        On rank 0 with no training samples and all samples of the other parts, on a worker with shards of all.
    target_connections : tuple of int
        Connections of each layer at the end of phase 1, if a run is continued within phase 2.

    Raises
    ------
    DataError
        There are fewer training samples than workers.
    """

    def __init__(self, job: TrainingJob, target_connections: tuple[int, ...] = ()) -> None:
        self._job, self._ctx, self._config = job, job.ctx, job.config
        self._n_workers = job.ctx.size - 1
        if job.dataset.n_train < self._n_workers:
            raise DataError(
                f"{job.dataset.info.path}: {job.dataset.n_train} training samples for {self._n_workers} workers: "
                "expected at least one for each; start fewer ranks"
            )
        self._last_served = last_served_epoch(job.config.training.epochs, job.config.parallel.phase2_share)
        self.n_steps = n_updates_per_epoch(job)
        self._growth = GrowthSource(job, make_objective(job.config)) if needs_growth_samples(job.config) else None
        self.target_connections = target_connections
        self._alone: LocalTrainer | None = None
        self._is_apart = False

    def train_epochs(
        self, first: int, last: int, on_epoch: OnEpoch, mid_epoch: MidEpochState | None = None
    ) -> EpochsResult:
        """Train epochs ``first`` to ``last``, or until a stop is due (collective).

        Parameters and errors as of :meth:`LocalTrainer.train_epochs`.
        """
        history: list[EpochMetrics] = []
        if first <= self._last_served:
            served = self._train_served(first, min(last, self._last_served), on_epoch, mid_epoch)
            if served.stop_reason or last <= self._last_served:
                return served
            history, mid_epoch = served.history, None
        for epoch in range(max(first, self._last_served + 1), last + 1):
            alone = self._alone or self._begin_alone()
            metrics = self._train_alone(alone, epoch, mid_epoch)
            mid_epoch = None
            if metrics is None:
                return EpochsResult(history, alone.mid_epoch, alone.stop_reason)
            history.append(metrics)
            on_root(self._ctx, lambda: on_epoch(history[-1]))
            if alone.stop_reason:
                return EpochsResult(history, None, alone.stop_reason)
        return EpochsResult(history)

    @property
    def replica_number(self) -> int | None:
        """Which of the networks that differ now is this rank's; None if they agree."""
        if not self._is_apart:
            return None
        return NO_REPLICA if self._ctx.is_root else self._ctx.rank - 1

    def _train_served(self, first: int, last: int, on_epoch: OnEpoch, mid_epoch: MidEpochState | None) -> EpochsResult:
        """Phase 1; afterwards all ranks have the server's network and states (collective)."""
        if self._ctx.is_root:
            server = Server(self._job, learning_rate(self._config, self._n_workers), self._growth)
            finish_serving = self._serve(server, first, last, on_epoch, mid_epoch)
            result = on_root(self._ctx, finish_serving)
        else:
            n_updates = (first - 1) * self.n_steps + (0 if mid_epoch is None else mid_epoch.step)
            is_synchronous = self._config.parallel.algorithm == "wassp"
            n_under_way = 2 if self._config.parallel.overlap else 1
            Worker(self._job, n_under_way).work(n_updates if is_synchronous else n_updates // self._n_workers)
            result = on_root(self._ctx, lambda: EpochsResult([]))
        broadcast_replica(self._ctx, self._job.replica)
        return result

    def _serve(
        self, server: Server, first: int, last: int, on_epoch: OnEpoch, mid_epoch: MidEpochState | None
    ) -> Callable[[], EpochsResult]:
        """Serve; what is returned gives the result, or raises what ended it after the workers were sent home.

        Anything else goes up at once: the workers then wait for the result in vain, and the job has to be ended.
        """
        try:
            result = server.serve(first, last, on_epoch, mid_epoch)
        except (HpcSparseError, OSError) as error:
            failure = error

            def fail() -> EpochsResult:
                raise failure

            return fail
        return lambda: result

    def finish(self) -> None:
        """Complete what is under way between the ranks (collective)."""
        if self._alone is not None:
            self._alone.finish()

    def _train_alone(self, alone: LocalTrainer, epoch: int, mid_epoch: MidEpochState | None) -> EpochMetrics | None:
        """An epoch of phase 2, with the average after the last one; None if stopped within (collective)."""
        if epoch == self._last_served + 1 and mid_epoch is None:
            self._change_rate(epoch)
        metrics = alone.train_epoch(epoch, mid_epoch)
        if metrics is None:
            return None
        metrics = replace(metrics, phase=2)
        return metrics if epoch < self._config.training.epochs else self._average(alone, metrics)

    def _average(self, alone: LocalTrainer, metrics: EpochMetrics) -> EpochMetrics:
        """The end: one network from those of the workers (collective)."""
        parts = self._evaluate_parts()
        alone.average()
        self._is_apart = False
        scores = alone.evaluate()
        alone.confirm_agreement()
        LOG.info(
            "test accuracy of the workers' networks: %s; of their average: %.2f %%",
            ", ".join(f"{100 * part:.2f} %" for part in parts),
            100 * scores.test_accuracy,
        )
        return replace(
            metrics,
            **scores.as_metrics(),
            parts_test_accuracy=parts,
            n_connections=self._job.replica.network.n_connections,
        )

    def _begin_alone(self) -> LocalTrainer:
        job = self._job
        if job.ctx.is_root:
            # The networks are evaluated on the workers' shards, which together are all samples of either part.
            none = job.dataset.train
            validation = None if job.dataset.validation is None else none
            job = replace(job, dataset=replace(job.dataset, test=none, validation=validation))
        # The networks agree now unless the run is continued. Both are averaged in the same way, to the same bits.
        if not self.target_connections:
            places = job.replica.network.connections()
            self.target_connections = tuple(connections.topology.n_connections for _, connections in places)
        self._is_apart = True
        rate = learning_rate_alone(self._config)
        self._alone = LocalTrainer(job, rate=rate, is_alone=True, targets=self.target_connections)
        return self._alone

    def _change_rate(self, epoch: int) -> None:
        """At the border of the phases the rate goes from one schedule to another: the trainer knows its own only."""
        served, alone = learning_rate(self._config, self._n_workers), learning_rate_alone(self._config)
        factor = change(served.at(epoch - 1), alone.at(epoch - 1))
        self._job.replica.change_rate(make_optimizer(self._config), factor)

    def _evaluate_parts(self) -> tuple[float, ...]:
        """Test accuracy of each worker's network, on all test samples, before they are averaged (collective)."""
        return tuple(self._evaluate_part(rank) for rank in range(1, self._ctx.size))

    def _evaluate_part(self, rank: int) -> float:
        """Have the network of one worker tested by root; one at a time, so that an error leaves nobody sending."""
        network = self._job.replica.network
        if self._ctx.rank == rank:
            send_network(self._ctx, network, 0)
        if self._ctx.is_root:
            network = receive_network(self._ctx, network, rank)
        return on_root(self._ctx, lambda: self._test_accuracy(network))

    def _test_accuracy(self, network: Network) -> float:
        job = self._job
        return Evaluation(
            network,
            make_objective(job.config),
            job.dataset.test,
            job.make_assembler(),
            job.make_workspace(),
            job.config.training.batch_size,
        ).finish()[1]


def last_served_epoch(n_epochs: int, phase2_share: float) -> int:
    """The last epoch of phase 1; there is at least one."""
    return max(1, n_epochs - round(phase2_share * n_epochs))
