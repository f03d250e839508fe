"""The phases of a configuration, and the learning rate in each."""

from __future__ import annotations

from hpc_sparse.config import RunConfig
from hpc_sparse.network.optimizers.learning_rate import LearningRate

SCALING_POWERS = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}


WARMUP_EPOCHS = 5
"""Of Goyal et al. 2017 (arXiv 1706.02677), and of the authors of WASSP-SGD; any length, as a run may become longer."""


def learning_rate(config: RunConfig, n_replicas: int) -> LearningRate:
    """The schedule of a configuration, scaled for the number of replicas that share a step."""
    optimizer, scale = config.optimizer, rate_scale(config, n_replicas)
    warmup_epochs, warmup_from = optimizer.warmup_epochs, optimizer.warmup_from
    if warmup_epochs == "auto":
        is_scaled = config.parallel.learning_rate_scaling == "auto" and scale > 1
        warmup_epochs, warmup_from = WARMUP_EPOCHS if is_scaled else 0, "unscaled"
    return LearningRate(
        base=optimizer.learning_rate,
        schedule=optimizer.schedule,
        n_epochs=config.training.epochs,
        scale=scale,
        warmup_epochs=warmup_epochs,
        warmup_from=warmup_from,
        step_epochs=optimizer.step_epochs,
        step_factor=optimizer.step_factor,
    )


def rate_scale(config: RunConfig, n_replicas: int) -> float:
    """Factor of the learning rate for so many replicas that share a step."""
    scaling = config.parallel.learning_rate_scaling
    if scaling != "auto":
        return float(n_replicas ** SCALING_POWERS[scaling])
    return 1.0 if config.parallel.algorithm == "wasap" else min(float(n_replicas), config.parallel.learning_rate_cap)


def last_served_epoch(config: RunConfig) -> int:
    """The last epoch of phase 1, in which workers are served; there is at least one."""
    n_epochs = config.training.epochs
    return max(1, n_epochs - round(config.parallel.phase2_share * n_epochs))


def learning_rate_alone(config: RunConfig) -> LearningRate:
    """The schedule of phase 2, in which every worker steps alone: not scaled, or the constant rate it asks for."""
    if config.parallel.phase2_learning_rate is None:
        return learning_rate(config, 1)
    return LearningRate(config.parallel.phase2_learning_rate, "constant", config.training.epochs)
