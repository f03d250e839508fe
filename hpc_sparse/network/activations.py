"""Hidden activations: all are f(z) = z for z >= 0 and slope * z below, and differ in the slope only."""

from __future__ import annotations

from collections.abc import Callable

LINEAR = 1.0
"""Slope of no activation at all."""

OUTPUT_ACTIVATION = "output"
"""Name, in checkpoints, of the output layer's activation: linear, what follows being part of the loss."""


def all_relu(alpha: float, layer: int) -> float:
    """Slope of alternated left ReLU: +alpha in odd layers, -alpha in even ones, the input being layer 1.

    Source: Curci, Mocanu, Pechenizkiy 2021, section on All-ReLU.
    """
    return alpha if layer % 2 else -alpha


def relu(alpha: float, layer: int) -> float:  # noqa: ARG001
    """Slope of ReLU: 0."""
    return 0.0


def leaky_relu(alpha: float, layer: int) -> float:  # noqa: ARG001
    """Slope of leaky ReLU: alpha in every layer."""
    return alpha


NEGATIVE_SLOPES: dict[str, Callable[[float, int], float]] = {
    "all_relu": all_relu,
    "relu": relu,
    "leaky_relu": leaky_relu,
}
"""By name: ``slope(alpha, layer)``, with layers counted from the input = 1. To add an activation, add a line."""


def negative_slopes(name: str, alpha: float, n_hidden: int) -> list[float]:
    """The slope of each hidden layer, first to last."""
    return [NEGATIVE_SLOPES[name](alpha, layer) for layer in range(2, n_hidden + 2)]


def negative_slope(name: str, alpha: float, layer: int) -> float:
    """The slope of one layer by its activation's name; ``layer`` counts from the input = 1."""
    return LINEAR if name == OUTPUT_ACTIVATION else NEGATIVE_SLOPES[name](alpha, layer)
