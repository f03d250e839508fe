"""Initial values of connections, at the start and when they grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array, Float64Array, Int32Array, Int64Array
from hpc_sparse.kernels.sparse import initial_weights
from hpc_sparse.network.connections.topology import Topology

NORMAL_DEVIATION = 0.1


class Fans(Protocol):
    """Connections, as far as the bounds of their initial weights go."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in) in neurons."""
        ...

    def fan_in(self) -> Int64Array | Int32Array:
        """Incoming connections of each neuron, [n_out]."""
        ...


def he_uniform(topology: Fans) -> Float64Array:
    """sqrt(6 / n_in) with the width of the layer below, as if dense (the choice of Curci et al. 2021)."""
    return np.full(topology.shape[0], np.sqrt(6.0 / topology.shape[1]))


def he_fan_in(topology: Fans) -> Float64Array:
    """sqrt(6 / connections of the neuron): keeps the signal's size at any density (Evci et al., arXiv 2010.03533)."""
    return np.sqrt(6.0 / np.maximum(topology.fan_in(), 1))


def xavier_uniform(topology: Fans) -> Float64Array:
    """sqrt(6 / (n_in + n_out)) with the layers' widths, as if dense."""
    return np.full(topology.shape[0], np.sqrt(6.0 / sum(topology.shape)))


UNIFORM_BOUNDS: dict[str, Callable[[Fans], Float64Array]] = {
    "he_uniform": he_uniform,
    "he_fan_in": he_fan_in,
    "xavier_uniform": xavier_uniform,
}
"""By name: the bound b of U(-b, b) for each output neuron, float64[n_out]."""

INITIALIZERS = (*UNIFORM_BOUNDS, "normal")


def width_factor(name: str, now: tuple[int, int], original: tuple[int, int]) -> float:
    """Initial weights of a layer of the ``original`` shape by those of one of the shape ``now``, for the same fan-in.

    A layer that has lost neurons goes on with connections of the size that the first ones had.
    """
    by_width = {"he_uniform": now[1] / original[1], "xavier_uniform": sum(now) / sum(original)}
    return float(np.sqrt(by_width.get(name, 1.0)))


def draw_weights(name: str, topology: Topology, key: np.uint64, *, first_row: int = 0) -> Float32Array:
    """Initial weights of all connections, float32[nnz]; ``first_row`` as in :func:`draw_grown_weights`."""
    weight = np.empty(topology.n_connections, VALUE)
    draw_grown_weights(name, topology, np.full(weight.size, -1, OFFSET), key, weight, first_row=first_row)
    return weight


def draw_grown_weights(
    name: str,
    topology: Topology,
    old_position: Int64Array,
    key: np.uint64,
    weight: Float32Array,
    *,
    first_row: int = 0,
    fans: Fans | None = None,
) -> None:
    """Overwrite ``weight`` where ``old_position`` is -1 by initial values; a connection's value depends on its key.

    ``first_row`` is the number of the topology's first row among all neurons of the layer, whose shape ``fans`` tells.
    """
    index = (topology.indptr, topology.indices, old_position, first_row, topology.shape[1])
    blocks = topology.bounds  # What balances them takes memory: before the bounds of the neurons do.
    if name == "normal":
        initial_weights.fill_normal(*index, NORMAL_DEVIATION, key, blocks, weight)
    else:
        initial_weights.fill_uniform(*index, UNIFORM_BOUNDS[name](fans or topology), key, blocks, weight)
