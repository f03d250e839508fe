"""The training loop."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.errors import DivergedError
from hpc_sparse.evolution import make_updater
from hpc_sparse.network.initializers import draw_grown_weights
from hpc_sparse.network.layer import Dropout
from hpc_sparse.network.losses import LOSSES
from hpc_sparse.network.mlp import Workspace
from hpc_sparse.network.optimizer import LearningRate, Sgd
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.local_sgd import LocalSgd, check_agreement, network_digest
from hpc_sparse.rng import Purpose, step_key, stream, stream_key
from hpc_sparse.storage.dataset import Dataset
from hpc_sparse.training.batches import BatchAssembler, shuffled_batches
from hpc_sparse.training.evaluation import evaluate, mean_over_ranks
from hpc_sparse.training.metrics import EpochMetrics
from hpc_sparse.training.progress import Reporter
from hpc_sparse.training.replica import Replica, check_invariants

LOG = logging.getLogger(__name__)

SCALING_POWERS = {"auto": 1.0, "none": 0.0, "sqrt": 0.5, "linear": 1.0}


@dataclass
class Clock:
    """Seconds spent on each kind of work in one epoch, on this rank."""

    train: float = 0.0
    evolve: float = 0.0
    sync: float = 0.0
    evaluate: float = 0.0


class Trainer:
    """Trains one replica on one shard, in step with the other ranks.

    An epoch: evolve the topology (not before the first epoch), train on every sample of the shard with a sync
    every so many steps, sync, evaluate. So after an epoch all replicas are the same, and a run can be stopped
    there and continued, on any number of ranks.
    """

    def __init__(
        self,
        ctx: ParallelContext,
        config: RunConfig,
        dataset: Dataset,
        replica: Replica,
        reporter: Reporter,
        *,
        is_debug: bool = False,
    ) -> None:
        self.ctx, self.config, self.replica = ctx, config, replica
        self._shard, self._test_shard = dataset.train, dataset.test
        self._loss = LOSSES[config.training.loss]
        self._sgd = Sgd(config.optimizer.momentum, config.optimizer.weight_decay, config.optimizer.nesterov)
        self._updater = make_updater(config.evolution.strategy, config.evolution.drop_fraction)
        self._workspace = Workspace(replica.network.widths, config.training.batch_size)
        self._assembler = BatchAssembler(
            dataset.info.n_features,
            config.training.batch_size,
            mean=dataset.mean if config.data.standardize else None,
            deviation=dataset.deviation if config.data.standardize else None,
        )
        self._averaging = LocalSgd(
            ctx,
            has_shared_topology=config.parallel.topology == "shared",
            momentum=config.parallel.momentum,
            is_contributor=self._shard.n_samples > 0,
        )
        self._averaging.start(replica.network)
        if is_debug:
            check_invariants(replica)
        self._rate = learning_rate(config, self._averaging.n_contributors)
        largest_shard = max(gather_objects(ctx, self._shard.n_samples))
        self.n_steps = -(-largest_shard // config.training.batch_size)
        self._reporter, self._is_debug = reporter, is_debug

    def train_epoch(self, epoch: int) -> EpochMetrics:
        """One epoch, counted from 1, from evolution to evaluation (collective).

        Raises
        ------
        DivergedError
            On every rank: the loss or a weight is no longer a finite number.
        """
        clock = Clock()
        n_bytes_before = self._averaging.n_bytes_sent
        n_changed = self._evolve(epoch, clock) if self._evolves_before(epoch) else 0
        train_loss, train_accuracy = self._train(epoch, clock)
        self._check_finite(epoch, train_loss)
        test_loss, test_accuracy = self._evaluate(clock)
        slowest = [max(times) for times in zip(*gather_objects(self.ctx, tuple(vars(clock).values())), strict=True)]
        return EpochMetrics(
            epoch=epoch,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            n_connections=self.replica.network.n_connections,
            connections_changed=n_changed,
            train_seconds=slowest[0],
            evolve_seconds=slowest[1],
            sync_seconds=slowest[2],
            sync_bytes=self._averaging.n_bytes_sent - n_bytes_before,
            evaluate_seconds=slowest[3],
            learning_rate=self._rate.at(epoch),
        )

    def _evolves_before(self, epoch: int) -> bool:
        return epoch > 1 and (epoch - 1) % self.config.evolution.every_epochs == 0

    def _evolve(self, epoch: int, clock: Clock) -> int:
        """Change the topology of every layer but the output's; returns the connections grown."""
        started = time.perf_counter()
        seed, initializer = self.config.training.seed, self.config.network.initializer
        stream_replica = self.ctx.rank if self.config.parallel.topology == "independent" else 0
        n_grown = 0
        for number, (layer, velocity) in enumerate(
            zip(self.replica.network.layers[:-1], self.replica.velocities[:-1], strict=True)
        ):
            name = {"epoch": epoch, "layer": number, "replica": stream_replica}
            rng = stream(seed, Purpose.DROP_AND_GROW, **name)
            change = self._updater.update(layer.topology, layer.weight, rng)
            if change is None:
                continue
            layer.follow(change)
            key = stream_key(seed, Purpose.GROWN_WEIGHTS, **name)
            draw_grown_weights(initializer, change.topology, change.old_position, key, layer.weight)
            velocity.carry(change)
            n_grown += change.n_grown
        clock.evolve += time.perf_counter() - started
        if self._is_debug:
            check_invariants(self.replica)
        LOG.debug("epoch %d: %d connections replaced", epoch, n_grown)
        return n_grown

    def _train(self, epoch: int, clock: Clock) -> tuple[float, float]:
        """All batches of the shard, with the syncs that are due; returns mean loss and accuracy over all ranks."""
        training = self.config.training
        batches = shuffled_batches(self._shard.n_samples, training.batch_size, training.seed, epoch, self.ctx.rank)
        rate = self._rate.at(epoch)
        keys = self._dropout_keys(epoch)
        loss, n_correct = 0.0, 0
        for step in range(self.n_steps):
            started = time.perf_counter()
            if step < len(batches):
                batch, labels = self._assembler.assemble(self._shard, batches[step])
                dropouts = [Dropout(self.config.network.dropout, step_key(key, step)) for key in keys]
                batch_loss, batch_correct = self.replica.network.train_batch(
                    batch, labels, self._loss, dropouts, self._sgd, rate, self.replica.velocities, self._workspace
                )
                loss += batch_loss
                n_correct += batch_correct
            clock.train += time.perf_counter() - started
            self._communicate(step, clock)
            self._reporter.step(step + 1)
        return mean_over_ranks(self.ctx, loss, n_correct, self._shard.n_samples)

    def _dropout_keys(self, epoch: int) -> list[np.uint64]:
        seed, n_hidden = self.config.training.seed, len(self.replica.network.layers) - 1
        return [
            stream_key(seed, Purpose.DROPOUT, epoch=epoch, layer=layer, replica=self.ctx.rank)
            for layer in range(n_hidden)
        ]

    def _communicate(self, step: int, clock: Clock) -> None:
        """After a step: the sync that is due, or a moment for the average that is under way."""
        started = time.perf_counter()
        every = self.config.parallel.sync_every_steps
        replica = self.replica
        if step + 1 == self.n_steps:
            self._sync()
        elif every == "epoch" or (step + 1) % every:
            self._averaging.progress()
        elif self.config.parallel.overlap:
            self._averaging.sync_delayed(replica.network, replica.velocities)
        else:
            self._sync()
        clock.sync += time.perf_counter() - started

    def _sync(self) -> None:
        self._averaging.sync(self.replica.network, self.replica.velocities)
        if self._is_debug:
            check_invariants(self.replica)
            check_agreement(self.ctx, self.replica.network)
            LOG.debug("synced, replicas agree: %s", network_digest(self.replica.network))

    def _check_finite(self, epoch: int, train_loss: float) -> None:
        if not math.isfinite(train_loss) or not self.replica.is_finite():
            raise DivergedError(
                f"epoch {epoch}: training diverged (training loss {train_loss}); lower optimizer.learning_rate = "
                f"{self.config.optimizer.learning_rate} or use optimizer.warmup_epochs"
            )

    def _evaluate(self, clock: Clock) -> tuple[float, float]:
        started = time.perf_counter()
        result = evaluate(
            self.ctx,
            self.replica.network,
            self._loss,
            self._test_shard,
            self._assembler,
            self._workspace,
            self.config.training.batch_size,
        )
        clock.evaluate += time.perf_counter() - started
        return result


def learning_rate(config: RunConfig, n_replicas: int) -> LearningRate:
    """The schedule of a configuration, scaled for the number of replicas that are averaged."""
    optimizer = config.optimizer
    scale = n_replicas ** SCALING_POWERS[config.parallel.learning_rate_scaling]
    return LearningRate(
        base=optimizer.learning_rate * scale,
        schedule=optimizer.schedule,
        n_epochs=config.training.epochs,
        warmup_epochs=optimizer.warmup_epochs,
        step_epochs=optimizer.step_epochs,
        step_factor=optimizer.step_factor,
    )
