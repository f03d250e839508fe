"""Sinks: where the gradients of a layer go.

``Write`` keeps the gradients; the sinks of optimisers (:mod:`hpc_sparse.network.optimizers`) move the parameters down
them. A kind of connections gets a map sink: the part of a sink that belongs to its weights and the biases of its rows.
A kind that has kernels for it steps at once through a ``DescendMap``. Into every other map sink it writes gradients, in
the room that the sink has or elsewhere, and has them accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.kernels.simd.velocity import Velocity
from hpc_sparse.kernels.sparse.descent import descend_all


class DescendMap(NamedTuple):
    """A step of SGD with momentum on the weights of a map and the biases of its rows, as fused kernels take it.

    Attributes
    ----------
    rate, momentum, decay : float32
        Learning rate, share of the velocity that stays, learning rate x weight decay.
    is_nesterov : bool
    weight : float32[n]
    bias : float32[n_out]
    weight_velocity : float32[n] or RoundedVelocity
    bias_velocity : float32[n_out]
        Updated in place.
    scratch : callable
        ``scratch(n)``: float32[n] for the gradient and whatever else a pass needs.
    """

    rate: np.float32
    momentum: np.float32
    decay: np.float32
    is_nesterov: bool
    weight: Float32Array
    bias: Float32Array
    weight_velocity: Velocity
    bias_velocity: Float32Array
    scratch: Callable[[int], Float32Array]

    def accept(self, weight_gradient: Float32Array, bias_gradient: Float32Array) -> None:
        """Take gradients that are complete: for kinds of connections without fused kernels."""
        factors = (self.rate, self.momentum, self.decay, self.is_nesterov)
        descend_all(weight_gradient, self.weight.size, *factors, self.weight, self.weight_velocity)
        descend_all(bias_gradient, 0, *factors, self.bias, self.bias_velocity)


class WriteMap(NamedTuple):
    """Room for gradients.

    Attributes
    ----------
    weight_gradient : float32[n]
        Of the weights of a map.
    bias_gradient : float32[n_out]
        Of the biases of its rows.
    scratch : callable
        ``scratch(n)``: float32[n] for whatever else a pass needs.
    """

    weight_gradient: Float32Array
    bias_gradient: Float32Array
    scratch: Callable[[int], Float32Array]

    def accept(self, weight_gradient: Float32Array, bias_gradient: Float32Array) -> None:
        """Take gradients that are complete; those that are in this room already stay."""
        if weight_gradient is not self.weight_gradient:
            self.weight_gradient[:] = weight_gradient
        if bias_gradient is not self.bias_gradient:
            self.bias_gradient[:] = bias_gradient


class GradientRoom(Protocol):
    """A map sink with room for gradients, which count once they are accepted."""

    @property
    def weight_gradient(self) -> Float32Array:
        """float32[n]: room for the gradient of the weights."""
        ...

    @property
    def bias_gradient(self) -> Float32Array:
        """float32[n_out]: room for the gradient of the biases."""
        ...

    @property
    def scratch(self) -> Callable[[int], Float32Array]:
        """``scratch(n)``: float32[n] for whatever else a pass needs; the room may be in the front of it."""
        ...

    def accept(self, weight_gradient: Float32Array, bias_gradient: Float32Array) -> None:
        """Take gradients that are complete, in this room or elsewhere."""
        ...


MapSink: TypeAlias = DescendMap | GradientRoom


class Sink(Protocol):
    """Destination of the gradients of one layer."""

    def map(self, weight: Float32Array, bias: Float32Array, names: tuple[str, str]) -> MapSink:
        """The part of a map with these weights and biases, which are parameters of these names."""
        ...

    def accept(self, name: str, values: Float32Array, gradient: Float32Array, *, decays: bool) -> None:
        """Take the gradient of a parameter that belongs to no map."""
        ...


def new_scratch(n: int) -> Float32Array:
    """float32[n], made anew."""
    return np.empty(n, VALUE)


@dataclass(frozen=True, slots=True)
class Write:
    """Keeps the gradients of one layer.

    Attributes
    ----------
    gradients : dict of str to float32[n]
        By the parameters' names; overwritten.
    scratch : callable
        ``scratch(n)``: float32[n] that nobody needs longer than one pass of one layer.
    """

    gradients: Mapping[str, Float32Array]
    scratch: Callable[[int], Float32Array] = new_scratch

    def map(self, weight: Float32Array, bias: Float32Array, names: tuple[str, str]) -> MapSink:  # noqa: ARG002
        """The part of a map."""
        return WriteMap(self.gradients[names[0]], self.gradients[names[1]], self.scratch)

    def accept(self, name: str, values: Float32Array, gradient: Float32Array, *, decays: bool) -> None:  # noqa: ARG002
        """Take the gradient of a parameter that belongs to no map."""
        self.gradients[name][:] = gradient
