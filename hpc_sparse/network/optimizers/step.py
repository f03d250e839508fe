"""Steps from gradients that have been written: for optimisers without kernels that do both at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hpc_sparse.dtypes import Float32Array
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.sinks import MapSink


class Descends(Protocol):
    """What moves values down a gradient: see :class:`hpc_sparse.network.optimizers.protocol.Optimizer`."""

    def descend(
        self,
        rate: float,
        values: Float32Array,
        gradient: Float32Array,
        n_decayed: int,
        states: Mapping[str, Float32Array],
    ) -> None:
        """Move values down their complete gradient."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """A step of one layer.

    Attributes
    ----------
    optimizer : Descends
    rate : float
        Learning rate.
    state : OptimizerState
        Of the layer.
    scratch : callable
        ``scratch(n)``: float32[n] that nobody needs longer than one pass of one layer.
    """

    optimizer: Descends
    rate: float
    state: OptimizerState
    scratch: Callable[[int], Float32Array]

    def map(self, weight: Float32Array, bias: Float32Array, names: tuple[str, str]) -> MapSink:
        """The part of a map."""
        return StepMap(self, weight, bias, names)

    def accept(self, name: str, values: Float32Array, gradient: Float32Array, *, decays: bool) -> None:
        """Take the gradient of a parameter."""
        n_decayed = values.size if decays else 0
        self.optimizer.descend(self.rate, values, gradient, n_decayed, self.state.of(name))


@dataclass(frozen=True, slots=True)
class StepMap:
    """A step on the weights of a map and the biases of its rows, with room for their gradients.

    Attributes
    ----------
    step : Step
        Of the layer.
    weight : float32[n]
    bias : float32[n_out]
        Changed in place.
    names : (str, str)
        Of both parameters.
    """

    step: Step
    weight: Float32Array
    bias: Float32Array
    names: tuple[str, str]

    @property
    def weight_gradient(self) -> Float32Array:
        """float32[n]: room for the gradient of the weights."""
        return self._room()[: self.weight.size]

    @property
    def bias_gradient(self) -> Float32Array:
        """float32[n_out]: room for the gradient of the biases."""
        return self._room()[self.weight.size :]

    @property
    def scratch(self) -> Callable[[int], Float32Array]:
        """``scratch(n)``: float32[n], the room in the front of it."""
        return self.step.scratch

    def accept(self, weight_gradient: Float32Array, bias_gradient: Float32Array) -> None:
        """Take gradients that are complete."""
        self.step.accept(self.names[0], self.weight, weight_gradient, decays=True)
        self.step.accept(self.names[1], self.bias, bias_gradient, decays=False)

    def _room(self) -> Float32Array:
        return self.step.scratch(self.weight.size + self.bias.size)
