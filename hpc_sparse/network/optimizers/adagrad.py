"""Adagrad: each parameter has a rate of its own, which falls as its squared gradients add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.config.section import Positive
from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.kernels.adagrad import descend_adagrad
from hpc_sparse.network.optimizers.protocol import Optimizer

SQUARES = "squares"
"""The one state array: the sum of the squared gradients."""


class AdagradSection(Section):
    """Adagrad. Of `[optimizer]` it takes the learning rate and its schedule, and weight_decay."""

    epsilon: Positive = 1e-6
    """Added to the root of the summed squares, so that a step is finite."""


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Steps of rate x gradient / (root of the summed squared gradients + epsilon).

    Source: Duchi, Hazan and Singer 2011. Grown connections begin with a sum of 0. A sync averages the sums.

    Attributes
    ----------
    epsilon : float
    weight_decay : float
        Each step takes learning rate x this share off every weight; biases are not decayed.
    """

    name: ClassVar[str] = "adagrad"
    state_arrays: ClassVar[Mapping[str, str]] = {SQUARES: "summed squared gradients"}
    section: ClassVar[type[Section]] = AdagradSection

    epsilon: float
    weight_decay: float = 0.0

    @classmethod
    def from_config(cls, config: RunConfig) -> Self:
        """The settings of ``[optimizer]`` and ``[optimizer.adagrad]``."""
        own = config.optimizer.own(cls.name, AdagradSection)
        return cls(own.epsilon, config.optimizer.weight_decay)

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Settings of momentum."""
        if config.optimizer.velocity != "float32":
            return (
                f'training.optimizer = "adagrad": not with optimizer.velocity = "{config.optimizer.velocity}", as it '
                "has no velocities"
            )
        for key in ("nesterov", "momentum_correction"):
            if getattr(config.optimizer, key):
                return f'training.optimizer = "adagrad": not with optimizer.{key} = true, which is of momentum'
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
        factors = VALUE(rate), VALUE(self.epsilon), VALUE(rate * self.weight_decay)
        descend_adagrad(gradient, n_decayed, *factors, values, states[SQUARES])
