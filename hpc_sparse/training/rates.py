"""The learning rate of a configuration, by strategy and phase."""

from __future__ import annotations

from hpc_sparse.config import RunConfig
from hpc_sparse.network.optimizers.learning_rate import LearningRate

SCALING_POWERS = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}


def learning_rate(config: RunConfig, n_replicas: int) -> LearningRate:
    """The schedule of a configuration, scaled for the number of replicas that share a step."""
    optimizer, scaling = config.optimizer, config.parallel.learning_rate_scaling
    if scaling == "auto":
        scaling = "none" if config.parallel.algorithm == "wasap" else "linear"
    return LearningRate(
        base=optimizer.learning_rate,
        schedule=optimizer.schedule,
        n_epochs=config.training.epochs,
        scale=n_replicas ** SCALING_POWERS[scaling],
        warmup_epochs=optimizer.warmup_epochs,
        warmup_from=optimizer.warmup_from,
        step_epochs=optimizer.step_epochs,
        step_factor=optimizer.step_factor,
    )


def learning_rate_alone(config: RunConfig) -> LearningRate:
    """The schedule of phase 2, in which every worker steps alone: not scaled, or the constant rate it asks for."""
    if config.parallel.phase2_learning_rate is None:
        return learning_rate(config, 1)
    return LearningRate(config.parallel.phase2_learning_rate, "constant", config.training.epochs)
