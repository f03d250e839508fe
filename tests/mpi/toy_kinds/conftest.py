"""Kinds of connections and of layers that only the tests in this folder know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from hpc_sparse.config import LayerSection, RunConfig
from hpc_sparse.config.layers import CONNECTION_KINDS, LAYER_SECTIONS
from hpc_sparse.errors import FileFormatError
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.choice import FreeChoice
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.protocol import INPUT, ConnectionBytes, Connections, Epilogue, Gate
from hpc_sparse.network.connections.registry import (
    CONNECTIONS,
    connections_from_state,
    random_connections,
    register_connections,
)
from hpc_sparse.network.connections.state import ConnectionState, StoredSize, StoredSizes
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.protocol import SavedArray
from hpc_sparse.network.layers.registry import LAYERS, register_layer
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.network.parameter import Parameter
from hpc_sparse.network.tiles import BatchShape, Tiles

ONE = np.float32(1)


def row_sums(tiles: Iterable[np.ndarray]) -> np.ndarray:
    """Tile by tile in ascending order."""
    return sum(tile.sum(axis=1, dtype=np.float32) for tile in tiles)


@dataclass
class Keys(FreeChoice):
    """Unstructured connections whose structure is one array, ``out * n_in + in`` of each."""

    kind: ClassVar[str] = "keys"
    unit: ClassVar[tuple[int, int]] = (1, 1)
    values_per_unit: ClassVar[int] = 1
    topology: Topology
    weight: np.ndarray

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Self:
        drawn = Csr.random(blueprint)
        return cls(drawn.topology, drawn.weight)

    @property
    def shape(self) -> tuple[int, int]:
        return self.topology.shape

    def forget_transposed(self) -> None:
        pass

    def shape_with(self, topology: Topology) -> tuple[int, int]:
        return topology.shape

    def scores(self, by: str = "norm") -> np.ndarray:
        return self.weight

    def rescale(self, scores: np.ndarray, by: str, initial: Any) -> None:
        self.weight = scores

    def shrink(self, amount: float) -> None:
        self._rows.shrink(amount)

    def initial_weight(self, topology: Topology, initializer: str, key: Any) -> np.ndarray:
        return self._rows.initial_weight(topology, initializer, key)

    def draw_grown(self, old_position: np.ndarray, initializer: str, key: Any) -> None:
        self._rows.draw_grown(old_position, initializer, key)

    def pairs(self) -> Topology:
        return self.topology

    def acting(self) -> Self:
        return self

    def matrix(self, values: np.ndarray) -> Any:
        return self.topology.matrix(values)

    @property
    def _rows(self) -> Csr:
        return Csr(self.topology, self.weight)

    def product(self, source: Tiles, epilogue: Epilogue, out: Tiles) -> None:
        self._rows.product(source, epilogue, out)

    def product_alone(self, source: np.ndarray, bias: np.ndarray, slope: np.float32, out: np.ndarray) -> None:
        self._rows.product_alone(source, bias, slope, out)

    def transposed(self, delta: Tiles, gate: Gate | None, out: Tiles) -> None:
        self._rows.transposed(delta, gate, out)

    def adjoint(self) -> Any:
        return self._rows.adjoint()

    def gradient(self, delta: Tiles, source: Tiles, sink: Any) -> None:
        sink.accept(self.gradient_of(delta, source), row_sums(tile for _, tile in delta))

    def transposed_and_gradient(self, delta: Tiles, source: Tiles, gate: Gate | None, sink: Any, out: Tiles) -> None:
        gradients = self.gradient_of(delta, source), row_sums(tile for _, tile in delta)
        self.transposed(delta, gate, out)
        sink.accept(*gradients)

    def gradient_of(self, delta: Tiles, source: Tiles) -> np.ndarray:
        outs, ins = self.topology.outs(), self.topology.indices
        return row_sums(own[outs] * below[ins] for (_, own), (_, below) in zip(delta, source, strict=True))

    def structure(self) -> Mapping[str, np.ndarray]:
        return {"keys": self.topology.keys()}

    def structure_dtypes(self, sizes: Sequence[int]) -> list[Any]:
        return [np.int64]

    def rebuilt(self, shape: tuple[int, int], structure: Mapping[str, np.ndarray], weight: np.ndarray) -> Self:
        return self.rewired(Topology.from_keys(shape, structure["keys"]), weight)

    def rewired(self, topology: Topology, weight: np.ndarray) -> Self:
        return replace(self, topology=topology, weight=weight)

    def copy(self) -> Self:
        return replace(self, weight=self.weight.copy())

    def incoming_strength(self) -> np.ndarray:
        return np.bincount(self.topology.outs(), np.abs(self.weight), self.shape[0])

    def outgoing_strength(self) -> np.ndarray:
        return np.bincount(self.topology.indices, np.abs(self.weight), self.shape[1])

    def to_csr(self) -> Any:
        return self.topology.matrix(self.weight)

    @classmethod
    def n_bytes(cls, n_out: int, n_in: int, n_connections: int, unit: tuple[int, int] = (1, 1)) -> ConnectionBytes:
        return ConnectionBytes({"keys": 8 * n_connections}, 4 * n_connections, 0)

    def state(self) -> ConnectionState:
        return ConnectionState(self.kind, self.shape, self.topology.n_connections, self.structure())

    @classmethod
    def stored_sizes(cls, shape: tuple[int, int], n_units: int, settings: Mapping[str, Any]) -> StoredSizes:
        return StoredSizes({"keys": StoredSize(np.int64, n_units)}, n_units)

    @classmethod
    def check_state(cls, where: str, state: ConnectionState) -> None:
        keys, (n_out, n_in) = state.structure["keys"], state.shape
        if keys.size and not (keys[0] >= 0 and keys[-1] < n_out * n_in and (np.diff(keys) > 0).all()):
            raise FileFormatError(f"{where}/keys: expected increasing ones below {n_out * n_in}")

    @classmethod
    def from_state(cls, state: ConnectionState, weight: np.ndarray) -> Self:
        return cls(Topology.from_keys(state.shape, state.structure["keys"]), weight)


class GainedSection(LayerSection):
    """``gain * tanh(W x + b)``."""

    start: float = 1.0
    """The gain of each neuron at first."""

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        if config.training.activations != "float32":
            return f'kind = "gained": not with training.activations = "{config.training.activations}"; use "float32"'
        return None


@dataclass
class Gained:
    """A layer with a third parameter, which applies its own derivative, for which it keeps its output."""

    kind: ClassVar[str] = "gained"
    section: ClassVar[type[LayerSection]] = GainedSection
    keeps_output: ClassVar[bool] = True
    weights: ClassVar[Mapping[str, str]] = {INPUT: "weight"}
    activation: ClassVar[str] = "tanh"
    incoming: Connections
    bias: np.ndarray
    gain: np.ndarray

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Self:
        n_out = blueprint.shape[0]
        assert isinstance(blueprint.section, GainedSection)
        gain = np.full(n_out, blueprint.section.start, np.float32)
        return cls(random_connections(blueprint), np.zeros(n_out, np.float32), gain)

    @property
    def shape(self) -> tuple[int, int]:
        return self.incoming.shape

    def connections(self) -> Mapping[str, Connections]:
        return {INPUT: self.incoming}

    def parameters(self) -> Mapping[str, Parameter]:
        return {
            "weight": Parameter(self.incoming.weight, INPUT, True),
            "bias": Parameter(self.bias, None, False),
            "gain": Parameter(self.gain, None, False),
        }

    def settings(self) -> Mapping[str, Any]:
        return {}

    def bind(self, values: Mapping[str, np.ndarray]) -> None:
        self.incoming.weight = values.get("weight", self.incoming.weight)
        self.bias, self.gain = values.get("bias", self.bias), values.get("gain", self.gain)

    def rewire(
        self, shape: tuple[int, int], topologies: Mapping[str, Topology], values: Mapping[str, np.ndarray]
    ) -> None:
        self.incoming = self.incoming.rewired(topologies.get(INPUT, self.incoming.topology), values["weight"])
        self.bias, self.gain = values["bias"], values["gain"]

    def copy(self) -> Self:
        return replace(self, incoming=self.incoming.copy(), bias=self.bias.copy(), gain=self.gain.copy())

    @classmethod
    def maps(cls, blueprint: LayerBlueprint) -> Mapping[str, LayerBlueprint]:
        return {INPUT: blueprint}

    @property
    def n_places(self) -> int:
        return 1

    @property
    def reads_tokens(self) -> bool:
        return False

    def shape_out(self, shape: BatchShape) -> BatchShape:
        return shape

    def saved_arrays(self, shape: BatchShape) -> Mapping[str, SavedArray]:
        return {"tanh": SavedArray((self.shape[0] * shape.n_columns,), np.float32)}

    @classmethod
    def saved_bytes(cls, n_out: int, shape: BatchShape, settings: Mapping[str, Any]) -> int:
        return 4 * n_out * shape.n_columns

    @classmethod
    def planned_settings(cls, blueprint: LayerBlueprint) -> Mapping[str, Any]:
        return {}

    def exact(
        self, source: np.ndarray, values: Mapping[str, np.ndarray], factor: Any, bend: Any = None, lengths: Any = None
    ) -> tuple[np.ndarray, None]:
        matrix = self.topology_matrix(values["weight"])
        out = [values["gain"][:, None] * np.tanh(matrix @ own + values["bias"][:, None]) for own in source]
        return np.array(out), None

    def topology_matrix(self, weight: np.ndarray) -> Any:
        return self.incoming.topology.matrix(weight)

    def signals(self, delta: Tiles, source: Tiles, saved: Any) -> Mapping[str, tuple[Tiles, Tiles]]:
        return {INPUT: (source, delta)}

    def forward(self, source: Tiles, out: Tiles, saved: Any, dropout: Any, *, goes_on: bool = False) -> None:
        self.incoming.product(source, Epilogue(self.bias, ONE), out)
        np.tanh(out.values, out=out.values)
        if saved is not None:
            saved["tanh"][:] = out.values
        for _, tile in out:
            np.multiply(tile, self.gain[:, None], out=tile)

    def forward_alone(self, source: np.ndarray, out: np.ndarray) -> None:
        self.incoming.product_alone(source, self.bias, ONE, out)
        np.tanh(out, out=out)
        out *= self.gain

    def gate(self, saved: Any, dropout: Any) -> None:
        return None

    def backward(self, delta: Tiles, source: Tiles, saved: Any, gate_below: Gate | None, sink: Any, out: Any) -> None:
        pairs = [(own, tanh) for (_, own), (_, tanh) in zip(delta, replace(delta, values=saved["tanh"]), strict=True)]
        gain_gradient = row_sums(own * tanh for own, tanh in pairs)
        for own, tanh in pairs:
            np.multiply(own, self.gain[:, None] * (1 - tanh * tanh), out=own)
        if sink is None:
            if out is not None:
                self.incoming.transposed(delta, gate_below, out)
            return
        target = sink.map(self.incoming.weight, self.bias, ("weight", "bias"))
        if out is None:
            self.incoming.gradient(delta, source, target)
        else:
            self.incoming.transposed_and_gradient(delta, source, gate_below, target, out)
        sink.accept("gain", self.gain, gain_gradient, decays=False)

    @classmethod
    def parameter_sizes(
        cls, shape: tuple[int, int], n_values: Mapping[str, int], settings: Mapping[str, Any]
    ) -> Mapping[str, int]:
        return {"weight": n_values[INPUT], "bias": shape[0], "gain": shape[0]}

    @classmethod
    def from_state(cls, state: LayerState, config: Any, number: int, *, is_last: bool, acting_share: float) -> Self:
        state.check_shapes({INPUT: state.shape})
        incoming = connections_from_state(state.connections[INPUT], state.parameters["weight"], acting_share)
        return cls(incoming, state.parameters["bias"], state.parameters["gain"])


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register_connections(Keys)
    register_layer(Gained)
    yield
    del CONNECTIONS["keys"], LAYERS["gained"], LAYER_SECTIONS["gained"]
    del CONNECTION_KINDS["keys"]
