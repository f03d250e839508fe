"""Training on one's own: each rank its replica on its shard, averaged at syncs, or left alone until the end."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence

from hpc_sparse.errors import DivergedError
from hpc_sparse.evolution.selection import resparsify
from hpc_sparse.inputs.batches import shuffled_batches
from hpc_sparse.monitor.metrics import EpochMetrics, by_rank
from hpc_sparse.monitor.position import Phase
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.optimizers.learning_rate import LearningRate
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.parallel.agreement import check_agreement, network_digest
from hpc_sparse.parallel.collectives import gather_objects, on_root, patient_barrier
from hpc_sparse.parallel.local_sgd import LocalSgd
from hpc_sparse.storage.dataset.samples import Samples
from hpc_sparse.training.evaluation import Scores, evaluate, mean_over_ranks
from hpc_sparse.training.evolution_step import Evolution, EvolutionStep, needs_growth_samples
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.job import EpochsResult, MidEpochState, OnEpoch, TrainingJob
from hpc_sparse.training.rank_totals import RankTotals
from hpc_sparse.training.rates import learning_rate
from hpc_sparse.training.shard_batches import ShardBatches

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
    objective : Objective, optional
        By default the configured one.
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
        objective: Objective | None = None,
        is_alone: bool = False,
        targets: Sequence[int] | None = None,
    ) -> None:
        self._job, self._ctx, self._config, self._is_alone = job, job.ctx, job.config, is_alone
        config, self._shard = job.config, job.dataset.train
        self._source = ShardBatches(job)
        self._objective, self._optimizer = objective or make_objective(config), make_optimizer(config)
        self._has_own_topology = is_alone or config.parallel.replica_topology == "independent"
        self._averaging = LocalSgd(
            job.ctx,
            has_shared_topology=not self._has_own_topology,
            cut_back=resparsify,
            resets=self._optimizer.reset_at_sync(config.parallel),
            is_contributor=self._shard.n_samples > 0,
        )
        if targets is None:
            self._averaging.start(job.replica.network)
        else:
            self._averaging.start_apart(job.replica.network, targets)
        self._fit_buffers()
        if job.is_debug:
            job.replica.check_invariants()
        self._rate = rate or learning_rate(config, self._averaging.n_contributors)
        largest_shard = max(gather_objects(job.ctx, self._shard.n_samples))
        self.n_steps: int = -(-largest_shard // config.training.batch_size)
        self._evolution = Evolution(
            config,
            job.ctx.replica if self._has_own_topology else 0,
            n_steps=self.n_steps,
            growth=GrowthSource(job, self._objective) if needs_growth_samples(config) else None,
            keeps_sizes=is_alone,
            redistributes=not self._has_own_topology,
            keeps_changes=False,
        )
        self._stop_agreement = job.make_stop_agreement()
        self.stop_reason: int = 0
        self.mid_epoch: MidEpochState | None = None

    def train_epochs(
        self, first: int, last: int, on_epoch: OnEpoch, mid_epoch: MidEpochState | None = None
    ) -> EpochsResult:
        """Train epochs ``first`` to ``last``, or until the ranks agree to stop (collective).

        Parameters
        ----------
        first, last : int
            Counted from 1.
        on_epoch : OnEpoch
            Called for every complete epoch.
        mid_epoch : MidEpochState or None
            Where ``first`` was left, if it was begun before.

        Raises
        ------
        DivergedError
            On every rank: the loss or a weight is no longer a finite number.
        HpcSparseError
            On every rank: what ``on_epoch`` raised on root.
        """
        history: list[EpochMetrics] = []
        for epoch in range(first, last + 1):
            metrics = self.train_epoch(epoch, mid_epoch)
            mid_epoch = None
            if metrics is None:
                return EpochsResult(history, self.mid_epoch, self.stop_reason)
            history.append(metrics)
            self._job.tracker.at(Phase.RECORDING)
            on_root(self._ctx, lambda: on_epoch(history[-1]))
            if self.stop_reason and epoch < last:
                return EpochsResult(history, None, self.stop_reason)
        return EpochsResult(history, None, self.stop_reason)

    def train_epoch(self, epoch: int, mid_epoch: MidEpochState | None = None) -> EpochMetrics | None:
        """Train one epoch, counted from 1, or the rest of it after ``mid_epoch`` (collective).

        Returns
        -------
        EpochMetrics or None
            None if the ranks agreed to stop in its middle: ``self.mid_epoch`` then says where.

        Raises
        ------
        DivergedError
            On every rank: the loss or a weight is no longer a finite number.
        """
        self.mid_epoch = None
        self._job.tracker.at(Phase.EVOLVING, epoch)
        sums = RankTotals() if mid_epoch is None else RankTotals.from_sums(mid_epoch.sums)
        if mid_epoch is None:
            self._evolve(epoch, sums)
            self._job.replica.change_rate(self._optimizer, self._rate.change_before(epoch))
        n_steps_done = self._train(epoch, 0 if mid_epoch is None else mid_epoch.step, sums)
        if n_steps_done < self.n_steps:
            self.mid_epoch = MidEpochState(n_steps_done, sums.to_sums())
            self.confirm_agreement()
            return None
        if self._is_alone:
            patient_barrier(self._ctx)
        train_loss, train_accuracy = mean_over_ranks(self._ctx, sums.loss, int(sums.n_correct), self._shard.n_samples)
        self._check_finite(epoch, train_loss)
        started = time.perf_counter()
        self._job.tracker.at(Phase.EVALUATING)
        scores = self.evaluate()
        sums.evaluate += time.perf_counter() - started
        seconds = (sums.train, sums.sync, sums.evolve, sums.evaluate, self._job.tracker.take_file_seconds())
        of_ranks = gather_objects(self._ctx, (sums.n_grown, *seconds))
        self.confirm_agreement()
        n_grown, *slowest = [max(numbers) for numbers in zip(*of_ranks, strict=True)]
        network = self._job.replica.network
        return EpochMetrics(
            epoch=epoch,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            **scores.as_metrics(),
            n_neurons=network.n_neurons,
            n_connections=network.n_connections,
            connections_changed=int(n_grown),
            train_seconds=slowest[0],
            evolve_seconds=slowest[2],
            sync_seconds=slowest[1],
            sync_bytes=int(sums.n_bytes),
            evaluate_seconds=slowest[3],
            learning_rate=self._rate.at(epoch),
            rank_seconds=by_rank([numbers[1:] for numbers in of_ranks]),
        )

    def finish(self) -> None:
        """Complete what is under way between the ranks, when no more is to be trained (collective)."""
        self._stop_agreement.finish()
        self._averaging.finish()

    def confirm_agreement(self) -> None:
        """Check that the last average has left all replicas the same (collective)."""
        self._averaging.confirm_agreement()

    @property
    def replica_number(self) -> int | None:
        """Which of the networks that differ now, within an epoch, is this rank's; None if they agree."""
        return self._ctx.replica if self._ctx.size > 1 and self.mid_epoch is not None else None

    @property
    def target_connections(self) -> tuple[int, ...]:
        """Connections of each layer after the next sync, where the networks may have different ones; else ()."""
        return self._averaging.targets if self._has_own_topology else ()

    def _fit_buffers(self) -> None:
        self._workspace, self._assembler = self._job.make_workspace(), self._job.make_assembler()

    def _evolve(self, epoch: int, sums: RankTotals) -> None:
        """Change the network as is due before ``epoch``."""
        if self._is_looking_on:
            return
        started = time.perf_counter()
        step = self._evolution.step(self._job.replica, epoch, may_prune=not self._is_alone)
        if step is not None and step.pruning is not None:
            # The replicas agree here: they were synced, and pruning draws no random numbers.
            self._averaging.start_from(step.pruning)
            self._fit_buffers()
            LOG.info("epoch %d: pruned to %d connections", epoch, step.pruning.n_connections)
        self._note_evolution(epoch, step, started, sums)

    def _evolve_within(self, epoch: int, n_steps_done: int, sums: RankTotals) -> None:
        """Change the network if it is due within ``epoch``; replicas with a shared topology have just been synced."""
        if self._is_looking_on or not self._evolution.is_due_within(epoch, n_steps_done):
            return
        started = time.perf_counter()
        step = self._evolution.step_within(self._job.replica, epoch, n_steps_done)
        self._note_evolution(epoch, step, started, sums)

    def _note_evolution(self, epoch: int, step: EvolutionStep | None, started: float, sums: RankTotals) -> None:
        if step is not None:
            sums.n_grown += step.n_grown
            if self._has_own_topology and self._evolution.changes_sizes:
                self._averaging.aim_at(self._job.replica.network)
            LOG.debug("epoch %d: %d connections replaced", epoch, step.n_grown)
        sums.evolve += time.perf_counter() - started
        if self._job.is_debug:
            self._job.replica.check_invariants()

    @property
    def _is_looking_on(self) -> bool:
        """Whether this rank has nothing to train, while the others train alone."""
        return self._is_alone and not self._averaging.is_contributor

    def _train(self, epoch: int, first_step: int, sums: RankTotals) -> int:
        """The batches from ``first_step`` on, with the syncs that are due; returns the steps that are then done."""
        training, replica = self._config.training, self._job.replica
        batches = shuffled_batches(self._shard.n_samples, training.batch_size, training.seed, epoch, self._ctx.replica)
        rate = self._rate.at(epoch)
        prepared = self._source.batches(epoch, batches[first_step:])
        for step in range(first_step, self.n_steps):
            started = time.perf_counter()
            self._job.tracker.at(Phase.TRAINING, step=step + 1)
            if step < len(batches):
                batch, labels = self._assembler.assemble(*next(prepared))
                dropouts = self._job.dropouts(epoch, step)
                outcome = replica.train_batch(
                    batch, labels, self._objective, dropouts, self._optimizer, rate, self._workspace
                )
                sums.loss += outcome.loss
                sums.n_correct += outcome.n_correct
            sums.train += time.perf_counter() - started
            self._job.tracker.at(Phase.SYNCING, step=step + 1)
            if not self._is_alone:
                self._communicate(epoch, step, sums)
            self._evolve_within(epoch, step + 1, sums)
            self._job.reporter.step(step + 1)
            if self._is_to_stop():
                return step + 1
        return self.n_steps

    def _is_to_stop(self) -> bool:
        """Whether the ranks have agreed to stop here and now; an average under way is finished first."""
        if not self.stop_reason:
            self.stop_reason = self._stop_agreement.step()
        may_stop_here = self._is_alone or not self._config.parallel.overlap
        return may_stop_here and self.stop_reason != 0

    def _communicate(self, epoch: int, step: int, sums: RankTotals) -> None:
        """After a step: the sync that is due, or a moment for the average that is under way."""
        started, n_bytes_before = time.perf_counter(), self._averaging.n_bytes_sent
        every = self._config.parallel.sync_every_steps
        replica = self._job.replica
        # Replicas that share a topology must agree before it changes.
        evolves = not self._has_own_topology and self._evolution.is_due_within(epoch, step + 1)
        if step + 1 == self.n_steps or evolves:
            self.average()
        elif every == "epoch" or (step + 1) % every:
            self._averaging.progress()
        elif self._config.parallel.overlap:
            self._averaging.sync_delayed(replica)
        else:
            self.average()
        sums.sync += time.perf_counter() - started
        sums.n_bytes += self._averaging.n_bytes_sent - n_bytes_before

    def average(self) -> None:
        """Average the replicas, which then agree (collective)."""
        network = self._job.replica.network
        self._averaging.sync(self._job.replica)
        if self._job.is_debug:
            self._job.replica.check_invariants()
            check_agreement(self._ctx, network)
            LOG.debug("synced, replicas agree: %s", network_digest(network))

    def _check_finite(self, epoch: int, train_loss: float) -> None:
        is_finite = math.isfinite(train_loss) and self._job.replica.is_finite()
        if self._is_alone:
            is_finite = all(gather_objects(self._ctx, is_finite))
        if not is_finite:
            raise DivergedError.in_epoch(epoch, train_loss, self._config.optimizer.learning_rate)

    def evaluate(self) -> Scores:
        """Mean losses and accuracies, each rank's network on its share of the samples of a part (collective)."""
        dataset = self._job.dataset
        validation = () if dataset.validation is None else self._evaluate(dataset.validation)
        return Scores(*self._evaluate(dataset.test), *validation)

    def _evaluate(self, shard: Samples) -> tuple[float, float]:
        return evaluate(
            self._ctx,
            self._job.replica.network,
            self._objective,
            shard,
            self._assembler,
            self._workspace,
            self._config.training.batch_size,
        )
