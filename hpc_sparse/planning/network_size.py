"""Size of a network before it is built."""

from __future__ import annotations

import math
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
    unit : (r, c)
        Neurons above and below whose connections come and go as one.
    """

    n_in: int
    n_out: int
    n_connections: int
    kind: str = "sparse"
    connections: str = "csr"
    unit: tuple[int, int] = (1, 1)

    @property
    def n_bytes(self) -> ConnectionBytes:
        """Bytes of its connections."""
        return CONNECTIONS[self.connections].n_bytes(self.n_out, self.n_in, self.n_connections, self.unit)

    @property
    def values_per_unit(self) -> int:
        """Connections that come and go as one."""
        return math.prod(self.unit)

    @property
    def n_units(self) -> int:
        """Units of connections that are stored."""
        return self.n_connections // self.values_per_unit

    @property
    def n_possible_units(self) -> int:
        """Units that could be stored."""
        return -(-self.n_out // self.unit[0]) * -(-self.n_in // self.unit[1])

    @property
    def section(self) -> LayerSection:
        """The layer as a configuration has it, as far as its connections go."""
        block = self.unit if self.values_per_unit > 1 else None
        return LayerSection.model_construct(n=self.n_out, connections=self.connections, block=block)

    def n_copies(self, *, is_tiled: bool) -> int:
        """Copies of the weights that a backward pass makes room for: gradients, and weights in transposed order."""
        return 2 if is_tiled and self.values_per_unit == 1 else 1

    def n_written(self, n_parts: int) -> int:
        """Gradients that the first layer keeps of each weight: ``n_parts`` of single connections, one in a block."""
        return n_parts if self.values_per_unit == 1 else 1

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
        return self.n_units == self.n_possible_units


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
            r, c = own.unit
            n_units = _n_connections(config.initial_topology, -(-pair[0] // c), -(-pair[1] // r), density)
            layers.append(LayerSize(*pair, n_units * r * c, own.kind, own.connections, own.unit))
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
