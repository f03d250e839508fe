"""SGD with momentum, in kernels that compute gradients and step at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self
from zlib import crc32

import numpy as np

from hpc_sparse.config import ParallelSection, RunConfig
from hpc_sparse.dtypes import HIDDEN_VALUES, VALUE, AnyArray, Float32Array
from hpc_sparse.kernels.simd.velocity import Velocity, as_velocity
from hpc_sparse.kernels.sparse.descent import descend_all
from hpc_sparse.network.bfloat16 import scale
from hpc_sparse.network.optimizers.protocol import Optimizer
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.sinks import DescendMap, MapSink, Sink
from hpc_sparse.rng import Purpose, step_key, stream_key

VELOCITY = "velocity"
"""The one state array: the running sum of the steps."""

NO_KEY = np.uint64(0)


@dataclass(frozen=True)
class Sgd(Optimizer):
    """Settings of SGD with momentum.

    Attributes
    ----------
    momentum : float
        Share of the velocity that stays, 0 for plain SGD.
    weight_decay : float
        Each step takes learning rate x this share off every weight; biases are not decayed.
    is_nesterov : bool
        Look ahead by one velocity (Sutskever et al. 2013).
    corrects_momentum : bool
        Velocities are scaled with the learning rate (Goyal et al. 2017, arXiv 1706.02677).
    velocity : "float32" or "bfloat16"
        How velocities of connections are stored; bfloat16 is rounded at random.
    key : uint64
        The stream of these random numbers.
    """

    name: ClassVar[str] = "sgd"
    state_arrays: ClassVar[Mapping[str, str]] = {VELOCITY: "velocities"}
    momentum_array: ClassVar[str | None] = VELOCITY
    is_fused: ClassVar[bool] = True

    momentum: float
    weight_decay: float = 0.0
    is_nesterov: bool = False
    corrects_momentum: bool = False
    velocity: str = "float32"
    key: np.uint64 = NO_KEY

    @classmethod
    def from_config(cls, config: RunConfig) -> Self:
        """The settings of ``[optimizer]``."""
        own, key = config.optimizer, stream_key(config.training.seed, Purpose.ROUNDING)
        return cls(own.momentum, own.weight_decay, own.nesterov, own.momentum_correction, own.velocity, key)

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Velocities in bfloat16 where a server or a delayed average changes them as one vector of float32."""
        if config.optimizer.velocity == "float32":
            return None
        setting, parallel = f'optimizer.velocity = "{config.optimizer.velocity}"', config.parallel
        if parallel.algorithm != "local_sgd":
            return f'{setting}: not with parallel.algorithm = "{parallel.algorithm}", whose server steps in float32'
        if parallel.overlap:
            return f"{setting}: not with parallel.overlap = true, which corrects velocities in float32; use false"
        return None

    @property
    def state_types(self) -> dict[str, type[np.generic]]:
        """The configured one."""
        return {VELOCITY: HIDDEN_VALUES[self.velocity]}

    def drawing_for(self, *purpose: int | str) -> Self:
        """The same with the random numbers of a purpose, where some are needed."""
        if self.velocity == "float32":
            return self
        key = self.key
        for part in purpose:
            key = step_key(key, part if isinstance(part, int) else crc32(part.encode()))
        return replace(self, key=key)

    @classmethod
    def reset_at_sync(cls, parallel: ParallelSection) -> frozenset[str]:
        """The velocity, if the configuration says so."""
        return frozenset({VELOCITY} if parallel.velocity_at_sync == "reset" else ())

    def descend(
        self,
        rate: float,
        values: Float32Array,
        gradient: Float32Array,
        n_decayed: int,
        states: Mapping[str, AnyArray],
    ) -> None:
        """Move values down their complete gradient, to the bits of the fused kernels."""
        velocity = as_velocity(states[VELOCITY], self.key)
        descend_all(gradient, n_decayed, *StepFactors.of(self, rate), values, velocity)

    def change_rate(self, states: Mapping[str, AnyArray], factor: float) -> None:
        """Scale the velocity, so that no old rate lives on in it; a bfloat16 is rounded to nearest."""
        if self.corrects_momentum and factor != 1:
            scale(states[VELOCITY], VALUE(factor))

    def sink(self, rate: float, state: OptimizerState, scratch: Callable[[int], Float32Array]) -> Sink:
        """The fused step of one layer."""
        return Descend(StepFactors.of(self, rate), state, scratch, self)


class StepFactors(NamedTuple):
    """Numbers of one step of SGD, as kernels take them.

    Attributes
    ----------
    rate, momentum, decay : float32
        Learning rate, share of the velocity that stays, learning rate x weight decay.
    is_nesterov : bool
    """

    rate: np.float32
    momentum: np.float32
    decay: np.float32
    is_nesterov: bool

    @classmethod
    def of(cls, sgd: Sgd, rate: float) -> StepFactors:
        """The numbers at a learning rate."""
        return cls(VALUE(rate), VALUE(sgd.momentum), VALUE(rate * sgd.weight_decay), sgd.is_nesterov)


@dataclass(frozen=True, slots=True)
class Descend:
    """Moves the parameters of one layer down their gradients.

    Attributes
    ----------
    factors : StepFactors
    state : OptimizerState
        Of the layer.
    scratch : callable
        ``scratch(n)``: float32[n] that nobody needs longer than one pass of one layer.
    sgd : Sgd
        With the random numbers of the layer.
    """

    factors: StepFactors
    state: OptimizerState
    scratch: Callable[[int], Float32Array]
    sgd: Sgd

    def map(self, weight: Float32Array, bias: Float32Array, names: tuple[str, str]) -> MapSink:
        """The part of a map."""
        velocity = self.state[VELOCITY]
        return DescendMap(*self.factors, weight, bias, self._velocity(names[0]), velocity[names[1]], self.scratch)

    def accept(self, name: str, values: Float32Array, gradient: Float32Array, *, decays: bool) -> None:
        """Take the gradient of a parameter that belongs to no map."""
        n_decayed = values.size if decays else 0
        descend_all(gradient, n_decayed, *self.factors, values, self._velocity(name))

    def _velocity(self, name: str) -> Velocity:
        return as_velocity(self.state[VELOCITY][name], self.sgd.drawing_for(name).key)
