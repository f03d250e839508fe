"""Training of one replica on one shard, epoch by epoch; what the replicas do together is up to the subclasses."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from hpc_sparse.errors import DivergedError
from hpc_sparse.inputs.batches import shuffled_batches
from hpc_sparse.monitor.metrics import EpochMetrics, by_rank
from hpc_sparse.monitor.position import Phase
from hpc_sparse.monitor.stopping import NO_PROGRESS
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.optimizers.group_lasso import GroupLasso
from hpc_sparse.network.optimizers.learning_rate import LearningRate
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.weight_average import WeightAverage
from hpc_sparse.parallel.agreement import check_agreement, network_digest
from hpc_sparse.parallel.collectives import errors_of_groups, gather_objects, on_root
from hpc_sparse.parallel.local_sgd import LocalSgd
from hpc_sparse.storage.dataset.samples import Samples
from hpc_sparse.training.clock import Clock
from hpc_sparse.training.evaluation import Scores, evaluate, is_of_tokens, mean_over_ranks
from hpc_sparse.training.evolution_step import Evolution, EvolutionStep
from hpc_sparse.training.job import EpochsResult, MidEpochState, OnEpoch, TrainingJob
from hpc_sparse.training.rank_totals import RankTotals
from hpc_sparse.training.shard_batches import ShardBatches

LOG = logging.getLogger(__name__)


class ReplicaTrainer(ABC):
    """Trains one replica on one shard; every rank has one.

    An epoch: change the topology if it is due, train on every sample of the shard, evaluate.

    Parameters
    ----------
    job : TrainingJob
    averaging : LocalSgd
        Averages the replicas.
    evolution : Evolution or None
        None if this rank's network stays as it is.
    n_steps : int
        Steps of an epoch, on every rank the same.
    rate : LearningRate
    objective : Objective

    Attributes
    ----------
    n_steps : int
    stop_reason : int
        Reason for which the ranks have agreed to stop; 0 while they have not.
    mid_epoch : MidEpochState or None
        State within an epoch, if the last one was left in its middle.
    """

    def __init__(
        self,
        job: TrainingJob,
        averaging: LocalSgd,
        evolution: Evolution | None,
        n_steps: int,
        rate: LearningRate,
        objective: Objective,
    ) -> None:
        self._job, self._ctx, self._config, self._shard = job, job.ctx, job.config, job.dataset.train
        self._averaging, self._evolution, self.n_steps = averaging, evolution, n_steps
        self._rate, self._objective, self._optimizer = rate, objective, make_optimizer(job.config)
        self._lasso, self._mean = GroupLasso.from_config(job.config), WeightAverage.from_config(job.config)
        self._source = ShardBatches(job)
        self._workspace, self._assembler = job.make_workspace(), job.make_assembler()
        self._stop_agreement = job.make_stop_agreement()
        self.stop_reason: int = 0
        self.mid_epoch: MidEpochState | None = None
        if job.is_debug:
            job.replica.check_invariants()

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
            if on_root(self._ctx, lambda: on_epoch(history[-1])):
                self.stop_reason = NO_PROGRESS
            if self.stop_reason:
                break
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
        self._job.begin_epoch(epoch)
        first_step, sums = 0, RankTotals()
        if mid_epoch is None:
            self._evolve(epoch, 0, sums)
            self._job.replica.change_rate(self._optimizer, self._rate.change_before(epoch))
        else:
            first_step, sums = mid_epoch.step, RankTotals.from_sums(mid_epoch.sums)
        n_steps_done = self._train(epoch, first_step, sums)
        if n_steps_done < self.n_steps:
            self.mid_epoch = MidEpochState(n_steps_done, sums.to_sums())
            self.confirm_agreement()
            return None
        return self._measure(epoch, sums)

    def finish(self) -> None:
        """Complete what is under way between the ranks, when no more is to be trained (collective)."""
        self._stop_agreement.finish()
        self._averaging.finish()

    def confirm_agreement(self) -> None:
        """Check that the last average has left all replicas the same (collective)."""
        with errors_of_groups(self._ctx):
            self._averaging.confirm_agreement()

    def average(self) -> None:
        """Average the replicas, which then agree (collective)."""
        network = self._job.replica.network
        with errors_of_groups(self._ctx):
            self._averaging.sync(self._job.replica)
        if self._ctx.data.size > 1:
            self._job.replica.refresh_mirrors()
        if self._job.is_debug:
            self._job.replica.check_invariants()
            with errors_of_groups(self._ctx):
                check_agreement(self._ctx.data, network)
            LOG.debug("synced, replicas agree: %s", network_digest(network))

    def evaluate(self) -> Scores:
        """Mean losses and accuracies, each rank's network on its share of the samples of a part (collective)."""
        dataset = self._job.dataset
        validation = () if dataset.validation is None else self._evaluate(dataset.validation)
        scores: Any = *self._evaluate(dataset.test), *validation
        return replace(Scores(*scores), is_of_tokens=is_of_tokens(dataset.info))

    # What the replicas do together

    @property
    @abstractmethod
    def _can_stop_within_epoch(self) -> bool:
        """Whether a run can be stopped after any step."""

    @abstractmethod
    def _communicate(self, epoch: int, step: int, sums: RankTotals) -> None:
        """Exchange with the other replicas what is due after ``step`` (collective)."""

    @abstractmethod
    def _follow(self, epoch: int, step: EvolutionStep) -> None:
        """Take note of a change of the network."""

    # An epoch

    def _evolve(self, epoch: int, n_steps_done: int, sums: RankTotals) -> None:
        """Change the network as is due before ``epoch``, or when some of its steps are done."""
        if self._evolution is None:
            return
        replica = self._job.replica
        with Clock(sums, "evolve"):
            step = (
                self._evolution.step_within(replica, epoch, n_steps_done)
                if n_steps_done
                else self._evolution.step(replica, epoch)
            )
            if step is not None:
                self._follow(epoch, step)
                sums.n_grown += step.n_grown
                LOG.debug("epoch %d: %d connections replaced", epoch, step.n_grown)
        if self._job.is_debug:
            replica.check_invariants()

    def _evolves_within(self, epoch: int, n_steps_done: int) -> bool:
        """Whether the topology is to change when so many steps of an epoch are done."""
        return self._evolution is not None and self._evolution.is_due_within(epoch, n_steps_done)

    def _train(self, epoch: int, first_step: int, sums: RankTotals) -> int:
        """The batches from ``first_step`` on; returns the steps that are then done (collective)."""
        training, replica = self._config.training, self._job.replica
        batches = shuffled_batches(self._shard.n_samples, training.batch_size, training.seed, epoch, self._ctx.replica)
        rate = self._rate.at(epoch)
        prepared = self._source.batches(epoch, batches[first_step:])
        for step in range(first_step, self.n_steps):
            with Clock(sums, "train"):
                self._job.tracker.at(Phase.TRAINING, step=step + 1)
                if step < len(batches):
                    batch, labels = self._assembler.assemble(*next(prepared))
                    dropouts = self._job.dropouts(epoch, step)
                    optimizer = self._optimizer.drawing_for(epoch, self._ctx.replica, step)
                    step_by = optimizer, rate, self._workspace, self._config.optimizer.clip_norm
                    outcome = replica.train_batch(batch, labels, self._objective, dropouts, *step_by)
                    if self._lasso is not None:
                        self._lasso.apply(replica.network, rate)
                    if self._evolution is not None:
                        self._evolution.after_step(replica, rate)
                    sums.loss += outcome.loss
                    sums.n_correct += outcome.n_correct
            self._job.tracker.at(Phase.SYNCING, step=step + 1)
            self._communicate(epoch, step, sums)
            if self._evolves_within(epoch, step + 1):
                self._evolve(epoch, step + 1, sums)
            self._job.reporter.step(step + 1)
            if self._is_to_stop():
                return step + 1
        return self.n_steps

    def _is_to_stop(self) -> bool:
        """Whether the ranks have agreed to stop here and now."""
        if not self.stop_reason:
            self.stop_reason = self._stop_agreement.step()
        return self.stop_reason != 0 and self._can_stop_within_epoch

    def _measure(self, epoch: int, sums: RankTotals) -> EpochMetrics:
        """The metrics of an epoch that is over (collective)."""
        train_loss, train_accuracy = mean_over_ranks(
            self._ctx.data, sums.loss, int(sums.n_correct), self._shard.n_scored
        )
        if not self._is_finite(train_loss):
            raise DivergedError.in_epoch(epoch, train_loss, self._config.optimizer.learning_rate)
        with Clock(sums, "evaluate"):
            self._job.tracker.at(Phase.EVALUATING)
            if self._mean is None:
                scores = self.evaluate()
            else:
                self._mean.update(self._job.replica, epoch)
                with self._mean.in_use(self._job.replica, epoch):
                    scores = self.evaluate()
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

    def _is_finite(self, train_loss: float) -> bool:
        """Whether training goes well, the same on every rank."""
        return math.isfinite(train_loss) and self._job.replica.is_finite()

    def _evaluate(self, shard: Samples) -> tuple[float, float]:
        return evaluate(
            self._ctx.data,
            self._job.replica.network,
            self._objective,
            shard,
            self._assembler,
            self._workspace,
            self._config.training.batch_size,
            is_text=self._job.dataset.info.is_text,
        )


def steps_per_epoch(job: TrainingJob) -> int:
    """Batches of the largest shard (collective)."""
    largest_shard: int = max(gather_objects(job.ctx, job.dataset.train.n_samples))
    return -(-largest_shard // job.config.training.batch_size)
