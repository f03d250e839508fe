"""Predicted times of the parts of a run on this machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpc_sparse.config import RunConfig
from hpc_sparse.parallel.collectives import broadcast_object, gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.calibration import calibrate
from hpc_sparse.planning.fetching import time_fetching
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.planning.parts import part_of, step_message_bytes
from hpc_sparse.planning.probe import Seconds
from hpc_sparse.planning.traffic import (
    checkpoint_file_bytes,
    message_bytes,
    n_syncs,
    reduction_rate,
    writing_rate,
)
from hpc_sparse.storage.dataset.samples import DatasetInfo
from hpc_sparse.storage.dataset.validation import count_validation

N_ROUNDS = 5

SPREAD = {
    "construction": (0.7, 2.8),
    "step": (0.7, 1.7),
    "evolution": (0.5, 1.4),
    "evaluation": (0.7, 1.7),
    "checkpoint": (0.5, 4.0),
}
"""The least and the most that parts of runs have taken, as multiples of what had been predicted.

From two machines and eight networks of 4 thousand to 275 million neurons (tools/results/scale.md); a checkpoint takes
CHECKPOINT_SECONDS more, which are much for a small one. A sync has no range: how long ranks wait for each other does
not follow from what one of them takes.
"""

CHECKPOINT_SECONDS = 0.1
"""At most, for a file's many small arrays and for its way to the disk."""


@dataclass(frozen=True)
class Prediction:
    """Predicted seconds of a run's parts, on the slowest rank.

    Attributes
    ----------
    n_steps, n_syncs : int
        Steps and syncs of an epoch.
    construction, step, evolution, sync, evaluation, epoch, checkpoint : float
        Seconds of each part. epoch = n_steps step + n_syncs sync + evaluation (test and validation samples) + evolution
        (if it follows every epoch).
    n_measured : int
        Connections of the measured network or layers.
    """

    n_steps: int
    n_syncs: int
    construction: float
    step: float
    evolution: float
    sync: float
    evaluation: float
    epoch: float
    checkpoint: float
    n_measured: int


def predict(ctx: ParallelContext, config: RunConfig, size: NetworkSize, info: DatasetInfo, n_ranks: int) -> Prediction:
    """Measure this machine for some seconds, on all ranks at once if there are several, and calculate (collective).

    A network in parts is measured whole: its ranks compute a part of that, and have to exchange rows.

    Expects :func:`hpc_sparse.kernels.threads.use_threads` to have been called.
    """
    n_parts = config.parallel.model
    n_ranks, of_step = n_ranks // n_parts, step_message_bytes(config, size, n_parts)
    calibration, fetch = calibrate(config, size, N_ROUNDS), time_fetching(config, info, N_ROUNDS)
    seconds = _slowest(ctx, calibration.seconds)
    n_trainers = n_ranks if config.parallel.algorithm == "local_sgd" else max(1, n_ranks - 1)
    n_validation = count_validation(info, config.data.validation_fraction)
    n_steps = _batches(config, info.n_train - n_validation, n_trainers)
    n_batches = sum(_batches(config, n, n_trainers) for n in (n_validation, info.n_test))
    count = n_syncs(config, n_steps) if n_ranks > 1 else 0
    message_rate = reduction_rate(ctx, max(n_ranks, n_parts)) if max(n_ranks, n_parts) > 1 else math.inf
    sync = message_bytes(config, part_of(size, n_parts)) / message_rate if n_ranks > 1 else 0.0
    step = seconds.step / n_parts + fetch + of_step / message_rate
    # Of what travels in a step, a pass forward has about half.
    evaluation = n_batches * (seconds.forward / n_parts + fetch + of_step / 2 / message_rate)
    evolution_share, every = 1.0 / config.evolution.every_epochs, config.evolution.every_steps
    if every is not None:
        n_alone = _batches(config, info.n_train - n_validation, 1)
        evolution_share = n_steps / (n_alone if every == "auto" else every)
    checkpoint_bytes = checkpoint_file_bytes(config, size)
    rate = broadcast_object(ctx, writing_rate(checkpoint_bytes) if ctx.is_root else None)
    return Prediction(
        n_steps=n_steps,
        n_syncs=count,
        construction=seconds.construct,
        step=step,
        evolution=seconds.evolve,
        sync=sync,
        evaluation=evaluation,
        epoch=n_steps * step + count * sync + evaluation + evolution_share * seconds.evolve,
        checkpoint=checkpoint_bytes / rate,
        n_measured=calibration.n_measured,
    )


def ranges(prediction: Prediction) -> dict[str, tuple[float, float]]:
    """Seconds between which each part of a run has to be expected, without the ranks' waiting for each other."""
    found = {
        part: (low * getattr(prediction, part), high * getattr(prediction, part))
        for part, (low, high) in SPREAD.items()
    }
    found["checkpoint"] = (found["checkpoint"][0], found["checkpoint"][1] + CHECKPOINT_SECONDS)
    low, high = zip(*(found[part] for part in ("step", "evaluation")), strict=True)
    others = prediction.epoch - prediction.n_steps * prediction.step - prediction.evaluation
    found["epoch"] = (
        prediction.n_steps * low[0] + low[1] + SPREAD["evolution"][0] * others,
        prediction.n_steps * high[0] + high[1] + SPREAD["evolution"][1] * others,
    )
    return found


def _batches(config: RunConfig, n_samples: int, n_trainers: int) -> int:
    """Number of batches in the largest shard."""
    largest = -(-n_samples // n_trainers)
    return -(-largest // config.training.batch_size)


def _slowest(ctx: ParallelContext, seconds: Seconds) -> Seconds:
    return Seconds(*(max(numbers) for numbers in zip(*gather_objects(ctx, seconds.numbers), strict=True)))
