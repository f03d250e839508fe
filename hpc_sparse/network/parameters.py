"""All parameters of a network in one vector, so that an update is one pass and a message one buffer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array, Int64Array
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.sgd import Velocity


@dataclass(frozen=True)
class ParameterLayout:
    """Where a network's parameters are in a vector: the weights of all layers, then the biases of all layers.

    Attributes
    ----------
    bounds : int64[2 n_layers + 1]
        Part ``p`` is ``[bounds[p], bounds[p + 1])``; first one part of weights per layer, then one of biases.
    """

    bounds: Int64Array

    @classmethod
    def of(cls, network: Network) -> ParameterLayout:
        """The layout for a network's present topology."""
        sizes = [layer.weight.size for layer in network.layers] + [layer.bias.size for layer in network.layers]
        return cls(np.concatenate([[0], np.cumsum(sizes)]).astype(OFFSET))

    @property
    def n_parameters(self) -> int:
        """Length of the vector."""
        return int(self.bounds[-1])

    @property
    def n_weights(self) -> int:
        """How many of them are weights."""
        return int(self.bounds[self.bounds.size // 2])

    def new_vector(self) -> Float32Array:
        """float32[n_parameters], not yet set."""
        return aligned_empty(self.n_parameters, VALUE)

    def views(self, vector: Float32Array) -> list[tuple[Float32Array, Float32Array]]:
        """Weights and biases of each layer, as views into ``vector``."""
        parts = [vector[start:stop] for start, stop in pairwise(self.bounds.tolist())]
        n_layers = len(parts) // 2
        return list(zip(parts[:n_layers], parts[n_layers:], strict=True))


def gather_network(network: Network) -> Float32Array:
    """Move a network's weights and biases into one new vector, of which the layers then have views."""
    layout = ParameterLayout.of(network)
    vector = layout.new_vector()
    for layer, (weight, bias) in zip(network.layers, layout.views(vector), strict=True):
        weight[:], bias[:] = layer.weight, layer.bias
        layer.weight, layer.bias = weight, bias
    return vector


def gather_velocities(network: Network, velocities: list[Velocity]) -> Float32Array:
    """Move the optimiser's velocities into one new vector, of which ``velocities`` then have views."""
    layout = ParameterLayout.of(network)
    vector = layout.new_vector()
    for velocity, (weight, bias) in zip(velocities, layout.views(vector), strict=True):
        weight[:], bias[:] = velocity.weight, velocity.bias
        velocity.weight, velocity.bias = weight, bias
    return vector
