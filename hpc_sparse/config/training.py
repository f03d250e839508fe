"""Sections ``[training]`` and ``[optimizer]``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from hpc_sparse.config.registry import OBJECTIVES, OPTIMIZERS, SectionOfKinds, check_known
from hpc_sparse.config.section import Count, Fraction, NonNegative, Positive, PositiveCount, Share


class TrainingSection(SectionOfKinds):
    """Length of the run, batches, loss and optimiser."""

    place: ClassVar[str] = "training"

    epochs: PositiveCount
    """Passes over the training data in total, also counting those before a resume."""

    batch_size: PositiveCount = 128
    """Samples per step and rank."""

    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of every random stream of the run."""

    activations: Literal["float32", "bfloat16"] = "float32"
    """Storage type of hidden activations and deltas; bfloat16 takes half the memory. Sums are made in float32."""

    loss: str = "cross_entropy"
    """With softmax, one sigmoid (two classes), sigmoid and tanh outputs respectively; hinge on the sums themselves."""

    class_weight: Annotated[tuple[Positive, ...], Field(strict=False)] | Literal["balanced"] | None = None
    """With loss = "cross_entropy": weight of each class in all losses, by label; balanced: all classes
    count alike. Accuracies stay as they are."""

    early_stopping: PositiveCount | None = None
    """Epochs without a smaller validation loss after which the run ends; needs data.validation_fraction."""

    optimizer: str = "sgd"
    """How parameters move down their gradients; its settings are in `[optimizer]`. sgd: SGD with momentum.
    adagrad: rates that fall as squared gradients add up."""

    @field_validator("loss", mode="before")
    @classmethod
    def _loss_is_known(cls, value: Any) -> Any:
        return check_known(OBJECTIVES, value)

    @field_validator("optimizer", mode="before")
    @classmethod
    def _optimizer_is_known(cls, value: Any) -> Any:
        return check_known(OPTIMIZERS, value)


class OptimizerSection(SectionOfKinds):
    """Learning rate, and the settings of SGD with momentum."""

    place: ClassVar[str] = "optimizer"

    learning_rate: Positive = 0.01
    """Learning rate of one replica; see parallel.learning_rate_scaling."""

    momentum: Fraction = 0.9
    """Share of the velocity that stays from step to step."""

    velocity: Literal["float32", "bfloat16"] = "float32"
    """Storage type of the velocities of connections. bfloat16 takes half the memory and is rounded at random, without
    bias; steps are computed in float32."""

    nesterov: bool = False
    """Nesterov's correction."""

    weight_decay: NonNegative = 0.0
    """Multiplied by the learning rate and taken off the weights, not off the biases."""

    clip_norm: Positive | None = None
    """Largest norm of the gradient of all parameters; a longer one is scaled down. Each replica clips its own."""

    average: Literal["none", "plain", "snt"] = "none"
    """Mean of the parameters at the ends of the last epochs, by which the network then predicts. plain: over all of
    them; snt: of each connection only since it grew, for topologies that still change."""

    average_share: Share = 0.1
    """average: share of the epochs, at the end."""

    schedule: Literal["constant", "step", "cosine"] = "constant"
    """Learning rate by epoch. A cosine depends on training.epochs."""

    warmup_epochs: Count | Literal["auto"] = "auto"
    """Epochs over which the learning rate rises to its full value. auto: none, but 5 where
    parallel.learning_rate_scaling = "auto" scales it for several replicas, from learning_rate on (Goyal 2017)."""

    warmup_from: Literal["zero", "unscaled"] = "zero"
    """Start of that rise, if warmup_epochs is a number; unscaled: at learning_rate without the scaling for replicas."""

    momentum_correction: bool = False
    """Scale velocities by new rate / old rate at every change of the rate (ibid.)."""

    step_epochs: PositiveCount = 25
    """Step schedule: epochs between two reductions."""

    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Step schedule: factor of each reduction."""
