"""How large a network is going to be, before a single connection of it exists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from hpc_sparse.config import NetworkSection
from hpc_sparse.network.densities import densities


@dataclass(frozen=True)
class LayerSize:
    """One layer of connections.

    Attributes
    ----------
    n_in, n_out : int
        Neurons below and above.
    n_connections : int
        Stored connections; where they are drawn at random, as many as are expected.
    """

    n_in: int
    n_out: int
    n_connections: int

    @property
    def is_dense(self) -> bool:
        """Whether every connection exists."""
        return self.n_connections == self.n_in * self.n_out


@dataclass(frozen=True)
class NetworkSize:
    """The layers of a network, from the inputs up."""

    layers: tuple[LayerSize, ...]

    @classmethod
    def expected(cls, config: NetworkSection, n_inputs: int, n_outputs: int) -> NetworkSize:
        """The size of a new network of a configuration."""
        widths = [n_inputs, *config.hidden, n_outputs]
        wanted = zip(pairwise(widths), densities(config, widths), strict=True)
        return cls(
            tuple(LayerSize(*pair, _n_connections(config.initial_topology, *pair, density)) for pair, density in wanted)
        )

    @classmethod
    def of_layers(cls, layers: Iterable[tuple[tuple[int, int], int]]) -> NetworkSize:
        """The size of a network that exists, from each layer's (n_out, n_in) and connections."""
        return cls(tuple(LayerSize(n_in, n_out, n_connections) for (n_out, n_in), n_connections in layers))

    @property
    def widths(self) -> list[int]:
        """Neurons per layer, from the input to the output."""
        return [self.layers[0].n_in, *(layer.n_out for layer in self.layers)]

    @property
    def n_neurons(self) -> int:
        """Neurons of all layers, inputs included."""
        return sum(self.widths)

    @property
    def n_connections(self) -> int:
        """Connections of all layers."""
        return sum(layer.n_connections for layer in self.layers)

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return self.n_connections + sum(layer.n_out for layer in self.layers)


def _n_connections(pattern: str, n_in: int, n_out: int, density: float) -> int:
    if pattern == "constant_fan_in":
        return n_out * min(n_in, max(1, round(density * n_in)))
    return round(density * n_in * n_out)
