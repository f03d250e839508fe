"""The server of WASAP-SGD and WASSP-SGD in phase 1: holds the network and applies the workers' gradients."""

from __future__ import annotations

import logging
import math
import time

from hpc_sparse.errors import DivergedError, HpcSparseError
from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.monitor.position import Phase
from hpc_sparse.network.optimizers.group_lasso import GroupLasso
from hpc_sparse.network.optimizers.learning_rate import LearningRate
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.parallel.gradient_exchange import ServerEnd
from hpc_sparse.training.evolution_step import Evolution
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.job import EpochsResult, MidEpochState, OnEpoch, TrainingJob
from hpc_sparse.training.rates import last_served_epoch
from hpc_sparse.training.served.exchange import WorkerExchange
from hpc_sparse.training.served.late_evaluation import LateEvaluation
from hpc_sparse.training.served.parameters import ServedParameters
from hpc_sparse.training.served.served_epoch import ServedEpoch
from hpc_sparse.training.served.server_totals import ServerTotals
from hpc_sparse.training.served.updates import make_updates

LOG = logging.getLogger(__name__)


class Server:
    """Server of the workers for some epochs, once.

    Updates per epoch: ``n_samples // (batch * workers)`` if the workers' gradients are applied together (WASSP-SGD),
    else ``n_samples // batch`` (WASAP-SGD), at least 1. Between two epochs the network is pruned and evolves, if due;
    gradients computed before are carried over. Evaluation uses a copy of the parameters, a batch whenever no gradient
    is waiting.

    Parameters
    ----------
    job : TrainingJob
        Has no training samples, but all samples of the test and validation parts.
    rate : LearningRate
    on_epoch : OnEpoch
        Called for every complete epoch.
    growth : GrowthSource or None
        Source of gradients for strategies that grow by them.
    end : ServerEnd, optional
        By default one to all other ranks.
    """

    def __init__(
        self,
        job: TrainingJob,
        rate: LearningRate,
        on_epoch: OnEpoch,
        growth: GrowthSource | None = None,
        end: ServerEnd | None = None,
    ) -> None:
        parallel, workers = job.config.parallel, range(1, job.ctx.size)
        self._job, self._rate, self._on_epoch = job, rate, on_epoch
        self._optimizer = make_optimizer(job.config)
        self.n_steps = n_updates_per_epoch(job)
        self._evolution = Evolution(
            job.config,
            n_steps=self.n_steps,
            growth=growth,
            n_inputs=job.dataset.info.n_features,
            shrinks_until=last_served_epoch(job.config),
            n_steps_alone=max(1, job.dataset.n_train // job.config.training.batch_size),
        )
        self._parameters = ServedParameters(job.replica)
        end = end or ServerEnd(job.ctx, workers, lets_workers_overlap=parallel.overlap)
        n_under_way = 2 if parallel.overlap else 1
        self._exchange = WorkerExchange(end, workers, self._parameters, n_under_way)
        self._updates = make_updates(parallel, self._exchange, self._parameters)
        self._lasso = GroupLasso.from_config(job.config)
        self._evaluation: LateEvaluation | None = None
        self._history: list[EpochMetrics] = []
        self._n_updates, self._n_planned = 0, 0
        self._stop_reason = 0

    def serve(self, first: int, last: int, mid_epoch: MidEpochState | None = None) -> EpochsResult:
        """Serve until epoch ``last`` is over and evaluated, or a stop is due.

        Afterwards no worker has a gradient under way; one that was when a stop came has been thrown away.

        Parameters
        ----------
        first, last : int
            Counted from 1.
        mid_epoch : MidEpochState or None
            Where ``first`` was left, if it was begun before.

        Raises
        ------
        DivergedError
            The loss or a weight is no longer a finite number.
        HpcSparseError, OSError
            What ``on_epoch`` raised. The workers have been sent home and wait for nothing.
        Exception
            Anything else, at once: who knows in the middle of which message. The job has to be ended.
        """
        self._n_updates = 0 if mid_epoch is None else mid_epoch.step
        self._n_planned = (last - first + 1) * self.n_steps
        self._exchange.open()
        try:
            epoch = self._serve_epochs(first, last, mid_epoch)
            self._send_home()
            self._finish_evaluation()
        except (HpcSparseError, OSError):
            self._send_home()
            self._exchange.close()
            raise
        self._exchange.close()
        if epoch.is_over:
            return EpochsResult(self._history, None, self._stop_reason)
        epoch.stop_clock(self._exchange.n_bytes)
        return EpochsResult(self._history, epoch.mid_epoch(), self._stop_reason)

    def _serve_epochs(self, first: int, last: int, mid_epoch: MidEpochState | None) -> ServedEpoch:
        """Serve until all is done or a stop is due; the epoch in which it ended, which may be over."""
        if mid_epoch is None:
            epoch = self._begin(first)
        else:
            self._job.begin_epoch(first)
            epoch = ServedEpoch.resumed(mid_epoch, self.n_steps, self._exchange.n_bytes)
        while True:
            while not (epoch.is_over or self._is_to_stop(epoch)):
                n_missing = self._n_planned - self._n_updates
                self._exchange.answer(self._n_updates, n_missing * self._updates.n_gradients)
                self._update(epoch)
            if epoch.number == last or self._is_to_stop(epoch):
                return epoch
            epoch = self._begin(epoch.number + 1)

    def _is_to_stop(self, epoch: ServedEpoch) -> bool:
        """Whether a stop is due here and now."""
        return self._stop_reason != 0 and epoch.is_resumable

    def _update(self, epoch: ServedEpoch) -> None:
        """Make one update, unless a gradient comes too late for it."""
        self._job.tracker.at(Phase.SERVING, epoch.number, epoch.n_updates + 1)
        update = self._updates.next(self._n_updates, epoch.totals, self._do_idle_work)
        if update is not None:
            rate = epoch.totals.rate * update.rate_factor
            self._parameters.descend(update.gradient, rate, self._optimizer)
            if self._lasso is not None:
                self._lasso.apply(self._job.replica.network, rate)
            self._evolution.after_step(self._job.replica, rate)
            self._n_updates += 1
            epoch.n_updates += 1
            self._job.reporter.step(epoch.n_updates)
            if epoch.is_over:
                self._finish(epoch)
            else:
                self._evolve_within(epoch)
        self._stop_reason = self._stop_reason or self._exchange.stop_reason or self._job.stop_request.reason

    def _send_home(self) -> None:
        self._job.tracker.at(Phase.SERVING)
        self._exchange.send_home(self._n_updates)

    # Epochs

    def _begin(self, number: int) -> ServedEpoch:
        """An epoch, before which the network has changed as is due."""
        started = time.perf_counter()
        self._job.begin_epoch(number)
        step = self._evolution.step(self._job.replica, number)
        if step is not None:
            if step.pruning is not None:
                LOG.info("epoch %d: pruned to %d connections", number, step.pruning.n_connections)
            self._parameters.follow(step)
        self._optimizer.change_rate(self._parameters.states, self._rate.change_before(number))
        if self._job.is_debug:
            self._job.replica.check_invariants()
        totals = ServerTotals(number, self._rate.at(number), 0 if step is None else step.n_grown)
        totals.evolve = time.perf_counter() - started
        return ServedEpoch(totals, self.n_steps, self._exchange.n_bytes)

    def _evolve_within(self, epoch: ServedEpoch) -> None:
        """Change the network if it is due within an epoch."""
        started = time.perf_counter()
        step = self._evolution.step_within(self._job.replica, epoch.number, epoch.n_updates)
        if step is not None:
            self._parameters.follow(step)
            epoch.totals.n_changed += step.n_grown
            epoch.totals.evolve += time.perf_counter() - started
            if self._job.is_debug:
                self._job.replica.check_invariants()

    def _finish(self, epoch: ServedEpoch) -> None:
        """End an epoch, and begin to evaluate it."""
        epoch.stop_clock(self._exchange.n_bytes)
        self._finish_evaluation()
        totals = epoch.totals
        if not (math.isfinite(totals.mean_loss) and self._job.replica.is_finite()):
            raise DivergedError.in_epoch(totals.epoch, totals.mean_loss, self._job.config.optimizer.learning_rate)
        self._evaluation = LateEvaluation(self._job, totals, self._parameters.snapshot())

    def _do_idle_work(self) -> bool:
        """Evaluate a batch, if there is an evaluation under way; whether there was."""
        if self._evaluation is None:
            return False
        if not self._evaluation.advance():
            self._finish_evaluation()
        return True

    def _finish_evaluation(self) -> None:
        """Complete the evaluation that is under way, if any, and with it its epoch."""
        evaluation, self._evaluation = self._evaluation, None
        if evaluation is None:
            return
        tracker = self._job.tracker
        before = tracker.position
        metrics = evaluation.finish()
        self._history.append(metrics)
        tracker.at(Phase.RECORDING)
        self._on_epoch(metrics)
        tracker.at(before.phase, before.epoch, before.step)


def n_updates_per_epoch(job: TrainingJob) -> int:
    """Updates that make an epoch: samples by batch size, and by workers where each update takes a batch of each."""
    n_samples, batch_size = job.dataset.n_train, job.config.training.batch_size
    n_workers = job.ctx.size - 1 if job.config.parallel.algorithm == "wassp" else 1
    return max(1, n_samples // (batch_size * n_workers))
