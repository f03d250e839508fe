"""Training on one's own: each rank its replica on its shard, averaged at syncs, or left alone until the end."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence

from hpc_sparse.errors import DivergedError
from hpc_sparse.network.losses import LOSSES
from hpc_sparse.network.optimizer import LearningRate, Sgd
from hpc_sparse.parallel.collectives import gather_objects, on_root, patient_barrier
from hpc_sparse.parallel.local_sgd import LocalSgd, check_agreement, network_digest
from hpc_sparse.training.batches import shuffled_batches
from hpc_sparse.training.evaluation import evaluate, mean_over_ranks
from hpc_sparse.training.evolving import Evolution
from hpc_sparse.training.job import Clock, Record, TrainingJob
from hpc_sparse.training.metrics import EpochMetrics
from hpc_sparse.training.rates import learning_rate
from hpc_sparse.training.replica import check_invariants

LOG = logging.getLogger(__name__)


class LocalTrainer:
    """Trains one replica on one shard, in step with the other ranks.

    An epoch: change the topology if it is due, train on every sample of the shard with a sync every so many steps,
    sync, evaluate. So after an epoch all replicas are the same, and a run can be stopped there and continued, on any
    number of ranks. Replicas that are left alone do the same without syncs, until :meth:`average`.

    Parameters
    ----------
    job : TrainingJob
    rate : LearningRate, optional
        By default the configured schedule, scaled for the number of replicas.
    is_alone : bool
        Replicas have their own topologies and are not averaged; a rank without samples looks on.
    targets : sequence of int, optional
        Connections of each layer once replicas that differ now are averaged; by default the replicas agree now.
    """

    def __init__(
        self,
        job: TrainingJob,
        *,
        rate: LearningRate | None = None,
        is_alone: bool = False,
        targets: Sequence[int] | None = None,
    ) -> None:
        self._job, self._ctx, self._config, self._is_alone = job, job.ctx, job.config, is_alone
        config, self._shard = job.config, job.dataset.train
        self._loss = LOSSES[config.training.loss]
        self._sgd = Sgd(config.optimizer.momentum, config.optimizer.weight_decay, config.optimizer.nesterov)
        has_own_topology = is_alone or config.parallel.topology == "independent"
        self._evolution = Evolution(config, job.ctx.rank if has_own_topology else 0)
        self._averaging = LocalSgd(
            job.ctx,
            has_shared_topology=not has_own_topology,
            momentum=config.parallel.momentum,
            is_contributor=self._shard.n_samples > 0,
        )
        if targets is None:
            self._averaging.start(job.replica.network)
        else:
            self._averaging.start_apart(job.replica.network, targets)
        self._fit_buffers()
        if job.is_debug:
            check_invariants(job.replica)
        self._rate = rate or learning_rate(config, self._averaging.n_contributors)
        largest_shard = max(gather_objects(job.ctx, self._shard.n_samples))
        self.n_steps = -(-largest_shard // config.training.batch_size)
        self.target_connections: tuple[int, ...] = ()

    def has_own_replicas_after(self, epoch: int) -> bool:  # noqa: ARG002
        """Whether the ranks' networks differ after ``epoch``: never, as every epoch ends with a sync."""
        return self._is_alone

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
        for epoch in range(first, last + 1):
            history.append(self.train_epoch(epoch))
            on_root(self._ctx, lambda: record(history[-1]))
        return history

    def train_epoch(self, epoch: int) -> EpochMetrics:
        """One epoch, counted from 1, from evolution to evaluation (collective).

        Raises
        ------
        DivergedError
            On every rank: the loss or a weight is no longer a finite number.
        """
        clock = Clock()
        n_bytes_before = self._averaging.n_bytes_sent
        n_changed = self._evolve(epoch, clock)
        self._correct_momentum(epoch)
        train_loss, train_accuracy = self._train(epoch, clock)
        self._check_finite(epoch, train_loss)
        started = time.perf_counter()
        test_loss, test_accuracy = self.evaluate()
        clock.evaluate += time.perf_counter() - started
        slowest = [max(times) for times in zip(*gather_objects(self._ctx, tuple(vars(clock).values())), strict=True)]
        network = self._job.replica.network
        return EpochMetrics(
            epoch=epoch,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            n_neurons=network.n_neurons,
            n_connections=network.n_connections,
            connections_changed=n_changed,
            train_seconds=slowest[0],
            evolve_seconds=slowest[1],
            sync_seconds=slowest[2],
            sync_bytes=self._averaging.n_bytes_sent - n_bytes_before,
            evaluate_seconds=slowest[3],
            learning_rate=self._rate.at(epoch),
        )

    def _fit_buffers(self) -> None:
        self._workspace, self._assembler = self._job.make_workspace(), self._job.make_assembler()

    def _evolve(self, epoch: int, clock: Clock) -> int:
        """Change the network as is due before ``epoch``; returns the connections grown."""
        started = time.perf_counter()
        step = self._evolution.step(self._job.replica, epoch, may_prune=not self._is_alone)
        if step is not None and step.pruning is not None:
            # The replicas agree here: they were synced, and pruning draws no random numbers.
            self._averaging.start_from(step.pruning)
            self._fit_buffers()
            LOG.info("epoch %d: pruned to %d connections", epoch, step.pruning.n_connections)
        clock.evolve += time.perf_counter() - started
        if self._job.is_debug:
            check_invariants(self._job.replica)
        return 0 if step is None else step.n_grown

    def _correct_momentum(self, epoch: int) -> None:
        if self._config.optimizer.momentum_correction:
            for velocity in self._job.replica.velocities:
                velocity.scale(self._rate.change_before(epoch))

    def _train(self, epoch: int, clock: Clock) -> tuple[float, float]:
        """All batches of the shard, with the syncs that are due; returns mean loss and accuracy over all ranks."""
        training, replica = self._config.training, self._job.replica
        batches = shuffled_batches(self._shard.n_samples, training.batch_size, training.seed, epoch, self._ctx.rank)
        rate = self._rate.at(epoch)
        loss, n_correct = 0.0, 0
        for step in range(self.n_steps):
            started = time.perf_counter()
            if step < len(batches):
                batch, labels = self._assembler.assemble(self._shard, batches[step])
                dropouts = self._job.dropouts(epoch, step)
                batch_loss, batch_correct = replica.network.train_batch(
                    batch, labels, self._loss, dropouts, self._sgd, rate, replica.velocities, self._workspace
                )
                loss += batch_loss
                n_correct += batch_correct
            clock.train += time.perf_counter() - started
            if not self._is_alone:
                self._communicate(step, clock)
            self._job.reporter.step(step + 1)
        if self._is_alone:
            patient_barrier(self._ctx)
        return mean_over_ranks(self._ctx, loss, n_correct, self._shard.n_samples)

    def _communicate(self, step: int, clock: Clock) -> None:
        """After a step: the sync that is due, or a moment for the average that is under way."""
        started = time.perf_counter()
        every = self._config.parallel.sync_every_steps
        replica = self._job.replica
        if step + 1 == self.n_steps:
            self.average()
        elif every == "epoch" or (step + 1) % every:
            self._averaging.progress()
        elif self._config.parallel.overlap:
            self._averaging.sync_delayed(replica.network, replica.velocities)
        else:
            self.average()
        clock.sync += time.perf_counter() - started

    def average(self) -> None:
        """Average the replicas, which then agree (collective)."""
        network = self._job.replica.network
        self._averaging.sync(network, self._job.replica.velocities)
        if self._job.is_debug:
            check_invariants(self._job.replica)
            check_agreement(self._ctx, network)
            LOG.debug("synced, replicas agree: %s", network_digest(network))

    def _check_finite(self, epoch: int, train_loss: float) -> None:
        is_finite = math.isfinite(train_loss) and self._job.replica.is_finite()
        if self._is_alone:
            is_finite = all(gather_objects(self._ctx, is_finite))
        if not is_finite:
            raise DivergedError.in_epoch(epoch, train_loss, self._config.optimizer.learning_rate)

    def evaluate(self) -> tuple[float, float]:
        """Mean test loss and accuracy, each rank's network on its share of the test samples (collective)."""
        return evaluate(
            self._ctx,
            self._job.replica.network,
            self._loss,
            self._job.dataset.test,
            self._assembler,
            self._workspace,
            self._config.training.batch_size,
        )
