"""Size of a network before it is built."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from hpc_sparse.config import LayerSection, NetworkSection, RunConfig
from hpc_sparse.inputs.sequences import n_inputs, n_places
from hpc_sparse.kernels.simd.machine import tile_width
from hpc_sparse.network.blueprint import LayerBlueprint, blueprints
from hpc_sparse.network.connections.protocol import INPUT, ConnectionBytes
from hpc_sparse.network.connections.registry import CONNECTIONS, UNSTRUCTURED
from hpc_sparse.network.connections.state import Setting
from hpc_sparse.network.layers.registry import LAYERS
from hpc_sparse.network.tiles import BatchShape
from hpc_sparse.storage.dataset.samples import DatasetInfo

NONE_GIVEN: Mapping[int, int] = MappingProxyType({})
"""Given numbers of connections of a network whose connections are all drawn."""


@dataclass(frozen=True)
class MapSize:
    """Connections of a layer.

    Attributes
    ----------
    name : str
        Their name in the layer.
    n_in, n_out : int
        Neurons that they come from; sums that they lead to.
    n_connections : int
    connections : str
        Their kind.
    unit : (r, c)
        Neurons above and below whose connections come and go as one.
    """

    name: str
    n_in: int
    n_out: int
    n_connections: int
    connections: str = "csr"
    unit: tuple[int, int] = (1, 1)

    @property
    def n_bytes(self) -> ConnectionBytes:
        """Bytes that they take."""
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
    def is_dense(self) -> bool:
        """Whether every connection exists."""
        return self.n_units == self.n_possible_units

    def n_copies(self, *, is_tiled: bool) -> int:
        """Copies of the weights that a backward pass makes room for: gradients, and weights in transposed order."""
        return 2 if is_tiled and self.values_per_unit == 1 else 1

    def n_written(self, n_parts: int) -> int:
        """Copies of the gradients of a first layer that a step writes.

        Single connections write none of a single tile; unstructured ones ``n_parts`` of several.
        """
        if self.values_per_unit > 1:
            return 1
        return n_parts if self.connections in UNSTRUCTURED else min(n_parts, 1)


@dataclass(frozen=True)
class LayerSize:
    """One layer.

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
    maps : tuple of MapSize
        Its connections one by one, where there are several, or others than between its neurons and those below.
    settings : tuple of (name, value)
        Of the kind of layer.
    places, places_out : int
        Places of each sample that it reads and gives: steps of sequences, or places of images.
    reads_tokens : bool
        Whether its inputs are tokens.
    keys : tuple of (key, value)
        Of a section, for connections that take as long as its own.
    """

    n_in: int
    n_out: int
    n_connections: int
    kind: str = "sparse"
    connections: str = "csr"
    unit: tuple[int, int] = (1, 1)
    maps: tuple[MapSize, ...] = ()
    settings: tuple[tuple[str, Setting], ...] = ()
    places: int = 1
    places_out: int = 1
    reads_tokens: bool = False
    keys: tuple[tuple[str, object], ...] = ()

    @property
    def each_map(self) -> tuple[MapSize, ...]:
        """All its connections, from the layer below first."""
        own = MapSize(INPUT, self.n_in, self.n_out, self.n_connections, self.connections, self.unit)
        return self.maps or (own,)

    @property
    def section(self) -> LayerSection:
        """A layer as a configuration has it, whose connections take as long as these."""
        keys: dict[str, Any] = {"connections": self.connections, **dict(self.keys)}
        return LayerSection.model_construct(n=self.n_out, **keys)

    @property
    def n_units(self) -> int:
        """Units of connections that are stored."""
        return sum(each.n_units for each in self.each_map)

    @property
    def n_parameters(self) -> int:
        """Numbers that are learned."""
        n_values = {each.name: each.n_connections for each in self.each_map}
        sizes = LAYERS[self.kind].parameter_sizes((self.n_out, self.n_in), n_values, dict(self.settings))
        return sum(sizes.values())

    def saved_bytes(self, n_samples: int) -> int:
        """Bytes that the layer keeps for the backward pass of a batch."""
        return LAYERS[self.kind].saved_bytes(self.n_out, BatchShape(n_samples, self.places), dict(self.settings))

    @property
    def is_dense(self) -> bool:
        """Whether every connection exists."""
        return all(each.is_dense for each in self.each_map)


@dataclass(frozen=True)
class NetworkSize:
    """The layers of a network, from the inputs up."""

    layers: tuple[LayerSize, ...]

    @classmethod
    def of_run(
        cls, config: RunConfig, info: DatasetInfo, n_outputs: int, given: Mapping[int, int] = NONE_GIVEN
    ) -> NetworkSize:
        """The size of the new network of a run; ``given`` as for :meth:`expected`.

        Raises
        ------
        DataError
            Layers read sequences, and the samples are none.
        """
        steps, n_in = n_places(config, info), n_inputs(config, info)
        return cls.expected(config.network, n_in, n_outputs, steps, reads_tokens=info.n_tokens > 0, given=given)

    @classmethod
    def expected(
        cls,
        config: NetworkSection,
        n_inputs: int,
        n_outputs: int,
        n_places: int = 1,
        *,
        reads_tokens: bool = False,
        given: Mapping[int, int] = NONE_GIVEN,
    ) -> NetworkSize:
        """The size of a new network of a configuration, for samples of so many places or tokens.

        ``given`` are numbers of connections that are not drawn, by the number of the layer.
        """
        layers = []
        for blueprint in blueprints(config, n_inputs, n_outputs, n_places=n_places, reads_tokens=reads_tokens):
            kind, (n_out, n_in), section = LAYERS[blueprint.kind], blueprint.shape, blueprint.section
            n_given = given.get(blueprint.number)
            maps = tuple(_map_size(name, own, n_given) for name, own in kind.maps(blueprint).items())
            size = LayerSize(
                n_in,
                n_out,
                sum(each.n_connections for each in maps),
                blueprint.kind,
                blueprint.connections,
                blueprint.unit,
                maps if len(maps) > 1 or (maps[0].n_out, maps[0].n_in) != (n_out, n_in) else (),
                tuple(kind.planned_settings(blueprint).items()),
                blueprint.n_places,
                blueprint.n_places if section is None else math.prod(section.grid_out(blueprint.grid)),
                blueprint.reads_tokens,
                () if section is None else tuple(section.kind_of_connections.keys_like(section).items()),
            )
            layers.append(size)
        return cls(tuple(layers))

    @classmethod
    def of_layers(cls, layers: Iterable[tuple[tuple[int, int], int]]) -> NetworkSize:
        """The size of a network of sparse layers that exists, from each layer's (n_out, n_in) and connections."""
        return cls(tuple(LayerSize(n_in, n_out, n_connections) for (n_out, n_in), n_connections in layers))

    def with_connections(self, layers: Iterable[Mapping[str, tuple[tuple[int, int], int]]]) -> NetworkSize:
        """The same layers with the neurons and connections that they have now.

        Parameters
        ----------
        layers : iterable of dict of str to ((n_out, n_in), int)
            Shape and number of each of a layer's connections, by their names.
        """
        return NetworkSize(tuple(_resized(size, maps) for size, maps in zip(self.layers, layers, strict=True)))

    @property
    def n_places(self) -> int:
        """Places of each sample that the network reads."""
        return self.layers[0].places

    @property
    def n_tokens(self) -> int:
        """Tokens that its inputs stand for; 0 if they are numbers."""
        return self.layers[0].n_in if self.layers[0].reads_tokens else 0

    @property
    def widths(self) -> list[int]:
        """Neurons per layer, from the input to the output."""
        return [self.layers[0].n_in, *(layer.n_out for layer in self.layers)]

    @property
    def tile_width(self) -> int:
        """Columns of a tile of activations in a new network of this size."""
        return tile_width([*self.widths, *(each.n_out for layer in self.layers for each in layer.each_map)])

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


def _map_size(name: str, blueprint: LayerBlueprint, n_given: int | None) -> MapSize:
    (n_out, n_in), (r, c), section = blueprint.shape, blueprint.unit, blueprint.section
    is_exact = section is not None and section.kind_of_connections.in_groups
    drawn = "groups" if is_exact else blueprint.pattern
    n_drawn = _n_connections(drawn, -(-n_in // c), -(-n_out // r), blueprint.density)
    n_units = n_drawn if n_given is None else n_given
    return MapSize(name, n_in, n_out, n_units * r * c, blueprint.connections, blueprint.unit)


def _resized(size: LayerSize, maps: Mapping[str, tuple[tuple[int, int], int]]) -> LayerSize:
    own = tuple(replace(each, n_connections=maps[each.name][1]) for each in size.maps)
    n_connections = sum(n for _, n in maps.values())
    (n_out, n_in), _ = maps[INPUT]
    # Neurons only go from layers with one map between them.
    n_out, n_in = (size.n_out, size.n_in) if own else (n_out, n_in)
    return replace(size, n_in=n_in, n_out=n_out, n_connections=n_connections, maps=own)


def _n_connections(pattern: str, n_in: int, n_out: int, density: float) -> int:
    if pattern == "constant_fan_in":
        return n_out * min(n_in, max(1, round(density * n_in)))
    return round(density * n_in * n_out)
