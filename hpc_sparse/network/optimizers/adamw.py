"""AdamW: steps of about equal size in all parameters, and weight decay apart from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import Field

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.kernels.sparse.adam import adam_step
from hpc_sparse.network.optimizers.protocol import Optimizer

MEAN, SQUARE, AGE = "mean", "square", "age"
"""The state arrays: running means of gradients and of their squares, and steps since each number began."""

Kept = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class AdamwSection(Section):
    """optimizer = "adamw". The learning rate is usually smaller than for sgd, such as 0.001."""

    beta1: Kept = 0.9
    """Share of the running mean of gradients that stays from step to step."""

    beta2: Kept = 0.999
    """Share of the running mean of their squares that stays."""

    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-8
    """Added to the root of the mean square."""


@dataclass(frozen=True)
class Adamw(Optimizer):
    """AdamW with decoupled weight decay (Loshchilov, Hutter 2019, arXiv 1711.05101).

    ``[optimizer] weight_decay`` times the learning rate is the share taken off each weight in a step, as for SGD.
    Momentum settings have no effect.

    A grown connection begins with means of 0 and age 0. So its first steps are as large as those of a new network; a
    common count of steps would make them up to ``sqrt(1 / (1 - beta2))`` times too large or small. 12 bytes per number.

    Attributes
    ----------
    beta1, beta2, epsilon : float
    weight_decay : float
    """

    name: ClassVar[str] = "adamw"
    state_arrays: ClassVar[Mapping[str, str]] = {
        MEAN: "means of gradients",
        SQUARE: "mean squares of gradients",
        AGE: "ages",
    }
    momentum_array: ClassVar[str | None] = MEAN
    section: ClassVar[type[Section]] = AdamwSection

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @classmethod
    def from_config(cls, config: RunConfig) -> Self:
        """The optimiser with the settings of its section, and the weight decay that all optimisers share."""
        own = config.optimizer.own(cls.name, AdamwSection)
        return cls(own.beta1, own.beta2, own.epsilon, config.optimizer.weight_decay)

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """A look ahead, and a type of velocities."""
        if config.optimizer.velocity != "float32":
            return (
                f'training.optimizer = "adamw": not with optimizer.velocity = "{config.optimizer.velocity}", as it has '
                "no velocities"
            )
        if config.optimizer.nesterov:
            return 'training.optimizer = "adamw": not with optimizer.nesterov = true, which looks ahead by velocities'
        return None

    def descend(
        self,
        rate: float,
        values: Float32Array,
        gradient: Float32Array,
        n_decayed: int,
        states: Mapping[str, Float32Array],
    ) -> None:
        """Move values down their complete gradient."""
        adam_step(
            gradient,
            n_decayed,
            VALUE(rate),
            VALUE(rate * self.weight_decay),
            self.beta1,
            self.beta2,
            VALUE(self.epsilon),
            values,
            states[MEAN],
            states[SQUARE],
            states[AGE],
        )
