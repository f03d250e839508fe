"""WASAP-SGD and WASSP-SGD: training around a serving rank, then workers on their own, then their average."""

from __future__ import annotations

import logging
from dataclasses import replace

from hpc_sparse.errors import DataError
from hpc_sparse.network.losses import LOSSES
from hpc_sparse.parallel.collectives import on_root
from hpc_sparse.parallel.replication import broadcast_network, receive_network, send_network
from hpc_sparse.training.evaluation import Evaluation
from hpc_sparse.training.job import Record, TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.metrics import EpochMetrics
from hpc_sparse.training.rates import learning_rate, learning_rate_alone
from hpc_sparse.training.serving import Server, n_updates_per_epoch
from hpc_sparse.training.working import Worker

LOG = logging.getLogger(__name__)


class PhasedTrainer:
    """Trains in two phases (Curci, Mocanu, Pechenizkiy 2021).

    Phase 1: rank 0 serves, the other ranks compute gradients on their shards. Phase 2, the last epochs: every worker
    trains and evolves alone; at the very end their networks are averaged over the union of their connections and cut
    back to as many connections as phase 1 ended with.

    Parameters
    ----------
    job : TrainingJob
        On rank 0 with no training samples and all test samples, on a worker with shards of both.
    target_connections : tuple of int
        Of a run that is continued within phase 2: connections of each layer at the end of phase 1.

    Raises
    ------
    DataError
        There are fewer training samples than workers.
    """

    def __init__(self, job: TrainingJob, target_connections: tuple[int, ...] = ()) -> None:
        self._job, self._ctx, self._config = job, job.ctx, job.config
        self._n_workers = job.ctx.size - 1
        if job.dataset.info.n_train < self._n_workers:
            raise DataError(
                f"{job.dataset.info.path}: {job.dataset.info.n_train} training samples for {self._n_workers} workers: "
                "expected at least one for each; start fewer ranks"
            )
        self._last_served = last_served_epoch(job.config.training.epochs, job.config.parallel.phase2_share)
        self.n_steps = n_updates_per_epoch(job)
        self.target_connections = target_connections
        self._alone: LocalTrainer | None = None

    def train_epochs(self, first: int, last: int, record: Record) -> list[EpochMetrics]:
        """Train epochs ``first`` to ``last`` and return their metrics (collective).

        Raises
        ------
        DivergedError
            On every rank: the loss or a weight is no longer a finite number.
        HpcSparseError
            On every rank: what ``record`` raised on root.
        """
        history: list[EpochMetrics] = []
        if first <= self._last_served:
            history += self._train_served(first, min(last, self._last_served), record)
        for epoch in range(max(first, self._last_served + 1), last + 1):
            history.append(self._train_alone(epoch))
            on_root(self._ctx, lambda: record(history[-1]))
        return history

    def has_own_replicas_after(self, epoch: int) -> bool:
        """Whether the workers' networks differ after ``epoch``."""
        return self._last_served < epoch < self._config.training.epochs

    def _train_served(self, first: int, last: int, record: Record) -> list[EpochMetrics]:
        """Phase 1; afterwards all ranks have the server's network and velocities (collective)."""
        if self._ctx.is_root:
            server = Server(self._job, learning_rate(self._config, self._n_workers))
            history = on_root(self._ctx, lambda: server.serve(first, last, record))
        else:
            n_updates = (first - 1) * self.n_steps
            is_synchronous = self._config.parallel.strategy == "wassp"
            n_under_way = 2 if self._config.parallel.overlap else 1
            Worker(self._job, n_under_way).work(n_updates if is_synchronous else n_updates // self._n_workers)
            history = on_root(self._ctx, list[EpochMetrics])
        broadcast_network(self._ctx, self._job.replica.network, self._job.replica.velocities)
        return history

    def _train_alone(self, epoch: int) -> EpochMetrics:
        """An epoch of phase 2, with the average after the last one (collective)."""
        trainer = self._alone or self._begin_alone()
        metrics = replace(trainer.train_epoch(epoch), phase=2)
        if epoch < self._config.training.epochs:
            return metrics
        parts = self._evaluate_parts()
        trainer.average()
        test_loss, test_accuracy = trainer.evaluate()
        LOG.info(
            "test accuracy of the workers' networks: %s; of their average: %.2f %%",
            ", ".join(f"{100 * part:.2f} %" for part in parts),
            100 * test_accuracy,
        )
        return replace(
            metrics,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            parts_test_accuracy=parts,
            n_connections=self._job.replica.network.n_connections,
        )

    def _begin_alone(self) -> LocalTrainer:
        job = self._job
        if job.ctx.is_root:
            # The parts are tested on the workers' shards of the test samples, which together are all.
            job = replace(job, dataset=replace(job.dataset, test=job.dataset.train))
        network = job.replica.network
        is_continued = bool(self.target_connections)
        if not is_continued:
            self.target_connections = tuple(layer.topology.n_connections for layer in network.layers)
        targets = self.target_connections if is_continued else None
        self._alone = LocalTrainer(job, rate=learning_rate_alone(self._config), is_alone=True, targets=targets)
        return self._alone

    def _evaluate_parts(self) -> tuple[float, ...]:
        """Test accuracy of each worker's network, on all test samples, before they are averaged (collective)."""
        if not self._ctx.is_root:
            send_network(self._ctx, self._job.replica.network, 0)
            return on_root(self._ctx, tuple[float, ...])
        return on_root(self._ctx, lambda: tuple(self._evaluate_part(rank) for rank in range(1, self._ctx.size)))

    def _evaluate_part(self, rank: int) -> float:
        job = self._job
        network = receive_network(self._ctx, job.replica.network, rank)
        return Evaluation(
            network,
            LOSSES[job.config.training.loss],
            job.dataset.test,
            job.make_assembler(),
            job.make_workspace(),
            job.config.training.batch_size,
        ).finish()[1]


def last_served_epoch(n_epochs: int, phase2_share: float) -> int:
    """The last epoch of phase 1; there is at least one."""
    return max(1, n_epochs - round(phase2_share * n_epochs))
