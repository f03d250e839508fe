"""Sinks: where the gradients of a layer go.

``Descend`` moves the parameters down their gradients at once, ``Write`` keeps the gradients. A kind of connections
gets a map sink: the part of a sink that belongs to its weights and the biases of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.kernels.sparse.descent import descend_all
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.optimizers.state import OptimizerState


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


class DescendMap(NamedTuple):
    """A step of SGD on the weights of a map and the biases of its rows.

    Attributes
    ----------
    rate, momentum, decay, is_nesterov
        As in :class:`StepFactors`.
    weight, weight_velocity : float32[n]
    bias, bias_velocity : float32[n_out]
        Updated in place.
    scratch : callable
        ``scratch(n)``: float32[n] for the gradient.
    """

    rate: np.float32
    momentum: np.float32
    decay: np.float32
    is_nesterov: bool
    weight: Float32Array
    bias: Float32Array
    weight_velocity: Float32Array
    bias_velocity: Float32Array
    scratch: Callable[[int], Float32Array]

    def accept(self, weight_gradient: Float32Array, bias_gradient: Float32Array) -> None:
        """Take gradients that are complete: for kinds of connections without fused kernels."""
        factors = (self.rate, self.momentum, self.decay, self.is_nesterov)
        descend_all(weight_gradient, self.weight.size, *factors, self.weight, self.weight_velocity)
        descend_all(bias_gradient, 0, *factors, self.bias, self.bias_velocity)


class WriteMap(NamedTuple):
    """Room for the gradients of the weights of a map, float32[n], and the biases of its rows, float32[n_out]."""

    weight_gradient: Float32Array
    bias_gradient: Float32Array

    def accept(self, weight_gradient: Float32Array, bias_gradient: Float32Array) -> None:
        """Take gradients that are complete."""
        self.weight_gradient[:] = weight_gradient
        self.bias_gradient[:] = bias_gradient


MapSink: TypeAlias = DescendMap | WriteMap


class Sink(Protocol):
    """Destination of the gradients of one layer."""

    def map(self, weight: Float32Array, bias: Float32Array, names: tuple[str, str]) -> MapSink:
        """The part of a map with these weights and biases, which are parameters of these names."""
        ...

    def accept(self, name: str, values: Float32Array, gradient: Float32Array, *, decays: bool) -> None:
        """Take the gradient of a parameter that belongs to no map."""
        ...


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
    """

    factors: StepFactors
    state: OptimizerState
    scratch: Callable[[int], Float32Array]

    def map(self, weight: Float32Array, bias: Float32Array, names: tuple[str, str]) -> MapSink:
        """The part of a map."""
        velocity = self.state.velocity
        return DescendMap(*self.factors, weight, bias, velocity[names[0]], velocity[names[1]], self.scratch)

    def accept(self, name: str, values: Float32Array, gradient: Float32Array, *, decays: bool) -> None:
        """Take the gradient of a parameter that belongs to no map."""
        n_decayed = values.size if decays else 0
        descend_all(gradient, n_decayed, *self.factors, values, self.state.velocity[name])


@dataclass(frozen=True, slots=True)
class Write:
    """Keeps the gradients of one layer in ``gradients``, float32 arrays by the parameters' names."""

    gradients: Mapping[str, Float32Array]

    def map(self, weight: Float32Array, bias: Float32Array, names: tuple[str, str]) -> MapSink:  # noqa: ARG002
        """The part of a map."""
        return WriteMap(self.gradients[names[0]], self.gradients[names[1]])

    def accept(self, name: str, values: Float32Array, gradient: Float32Array, *, decays: bool) -> None:  # noqa: ARG002
        """Take the gradient of a parameter that belongs to no map."""
        self.gradients[name][:] = gradient
