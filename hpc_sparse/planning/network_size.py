"""Size of a network before it is built."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from hpc_sparse.config import LayerSection, NetworkSection
from hpc_sparse.network.connections.protocol import INPUT, ConnectionBytes
from hpc_sparse.network.connections.registry import CONNECTIONS
from hpc_sparse.network.densities import densities
from hpc_sparse.network.layers.registry import LAYERS


@dataclass(frozen=True)
class LayerSize:
    """One layer of connections.

    Attributes
    ----------
    n_in, n_out : int
        Neurons below and above.
    n_connections : int
        Stored connections; where they are drawn at random, as many as are expected.
    kind, connections : str
        Kind of layer and of its connections.
    """

    n_in: int
    n_out: int
    n_connections: int
    kind: str = "sparse"
    connections: str = "csr"

    @property
    def n_bytes(self) -> ConnectionBytes:
        """Bytes of its connections."""
        return CONNECTIONS[self.connections].n_bytes(self.n_out, self.n_in, self.n_connections)

    @property
    def n_parameters(self) -> int:
        """Numbers that are learned."""
        sizes = LAYERS[self.kind].parameter_sizes((self.n_out, self.n_in), {INPUT: self.n_connections}, {})
        return sum(sizes.values())

    def saved_bytes(self, width: int) -> int:
        """Bytes that the layer keeps for the backward pass of a batch of ``width`` columns."""
        return LAYERS[self.kind].saved_bytes(self.n_out, width)

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
        layers = []
        for number, (pair, density) in enumerate(zip(pairwise(widths), densities(config, widths), strict=True)):
            own = config.layer(number) if number < len(config.hidden) else LayerSection(n=n_outputs)
            # Groups of inputs have as many connections each: their density is exact.
            drawn = config.initial_topology if own.pattern is None else "pattern"
            n_connections = _n_connections(drawn, *pair, density)
            layers.append(LayerSize(*pair, n_connections, own.kind, own.connections))
        return cls(tuple(layers))

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
        """Numbers that are learned, of all layers."""
        return sum(layer.n_parameters for layer in self.layers)


def _n_connections(pattern: str, n_in: int, n_out: int, density: float) -> int:
    if pattern == "constant_fan_in":
        return n_out * min(n_in, max(1, round(density * n_in)))
    return round(density * n_in * n_out)
