"""Sparse layers: weighted sums over stored connections, a piecewise linear activation, dropout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np

from hpc_sparse.config import LayerSection, NetworkSection
from hpc_sparse.dtypes import VALUE, Float32Array, Float64Array, Int32Array
from hpc_sparse.errors import InputError, quoted
from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.network.activations import LINEAR, NEGATIVE_SLOPES, OUTPUT_ACTIVATION, negative_slope
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.protocol import INPUT, Epilogue, Gate, exact_matrix
from hpc_sparse.network.connections.registry import connections_from_state, random_connections, unstructured
from hpc_sparse.network.connections.reserve import ALL_ACT
from hpc_sparse.network.connections.state import Setting
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.one_map import OneMap
from hpc_sparse.network.layers.protocol import Layer, Saved, SavedArray
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.network.sinks import Sink, Write
from hpc_sparse.network.tiles import BatchShape, Tiles


class HasLayers(Protocol):
    """A network, as far as its layers go."""

    @property
    def layers(self) -> list[Layer]:
        """From the input to the output."""
        ...


@dataclass
class SparseLayer(OneMap):
    """A layer ``f(W x + b)``.

    Attributes
    ----------
    incoming : Connections
        The map W.
    bias : float32[n_out]
    slope : float
        Slope of the activation below 0; 1 for the linear output layer.
    activation : str
        Its name.
    first_row : int
        Number of the first neuron here among all of the layer.
    """

    kind: ClassVar[str] = "sparse"
    section: ClassVar[type[LayerSection]] = LayerSection
    keeps_output: ClassVar[bool] = False
    slope: float
    activation: str = OUTPUT_ACTIVATION
    first_row: int = 0

    def __post_init__(self) -> None:
        self._slope = VALUE(self.slope)

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Self:
        """A new layer, its biases 0."""
        slope = negative_slope(blueprint.activation, blueprint.alpha, blueprint.number + 2)
        bias = np.zeros(blueprint.shape[0], VALUE)
        return cls(random_connections(blueprint), bias, slope, blueprint.activation)

    @classmethod
    def of(cls, topology: Topology, weight: Float32Array, bias: Float32Array, slope: float) -> SparseLayer:
        """A layer of unstructured connections, hidden unless ``slope`` is 1."""
        activation = OUTPUT_ACTIVATION if slope == LINEAR else "leaky_relu"
        return cls(unstructured(topology, weight), bias, slope, activation)

    @property
    def topology(self) -> Topology:
        """Which connections there are."""
        return self.incoming.topology

    @property
    def weight(self) -> Float32Array:
        """float32[n]: the weights of the connections."""
        return self.incoming.weight

    @weight.setter
    def weight(self, values: Float32Array) -> None:
        self.incoming.weight = values

    def saved_arrays(self, shape: BatchShape) -> Mapping[str, SavedArray]:
        """Two bits per activation: :mod:`hpc_sparse.kernels.simd.activation`."""
        if self.activation == OUTPUT_ACTIVATION:
            return {}
        return {"record": SavedArray((self.shape[0] * record_words(shape.n_columns),), np.uint16)}

    def forward(
        self,
        source: Tiles,
        out: Tiles,
        saved: Saved | None = None,
        dropout: Dropout | None = None,
        *,
        goes_on: bool = False,  # noqa: ARG002  (it has no state)
    ) -> None:
        """``out = f(W source + b)``, in training with dropout and a record of what :meth:`backward` needs."""
        if dropout is None or saved is None:
            self.incoming.product(source, Epilogue(self.bias, self._slope), out)
        else:
            self.incoming.product(
                source, Epilogue(self.bias, self._slope, dropout, saved["record"], self.first_row), out
            )

    def forward_alone(self, source: Float32Array, out: Float32Array) -> None:
        """The bits of :meth:`forward` without dropout for one sample."""
        self.incoming.product_alone(source, self.bias, self._slope, out)

    def gate(self, saved: Saved, dropout: Dropout | None) -> Gate | None:
        """The derivative of activation and dropout."""
        assert dropout is not None
        return Gate(self._slope, dropout.scale, saved["record"])

    def backward(
        self,
        delta: Tiles,
        source: Tiles,
        saved: Saved,  # noqa: ARG002  (its gate has been applied by the layer above)
        gate_below: Gate | None,
        sink: Sink | None,
        out: Tiles | None,
    ) -> None:
        """Deltas for the layer below and gradients, in one pass where both are wanted."""
        self.pass_back(delta, source, gate_below, sink, out)

    def exact(
        self,
        source: Float64Array,
        values: Mapping[str, Float64Array],
        factor: Float64Array | None,
        bend: Float64Array | None = None,
        lengths: Int32Array | None = None,  # noqa: ARG002  (its places do not depend on each other)
    ) -> tuple[Float64Array, Float64Array | None]:
        """``f(W x + b)`` in float64, by SciPy."""
        matrix = exact_matrix(self.incoming, values["weight"])
        sums = np.array([matrix @ own + values["bias"][:, None] for own in source])
        if bend is None:
            bend = np.where(sums < 0, self.slope, 1.0) * (1.0 if factor is None else factor)
        return sums * bend, bend

    @classmethod
    def saved_bytes(cls, n_out: int, shape: BatchShape, settings: Mapping[str, Setting]) -> int:  # noqa: ARG003
        """Bytes of the record."""
        return n_out * record_words(shape.n_columns) * np.dtype(np.uint16).itemsize

    @classmethod
    def from_state(
        cls, state: LayerState, config: NetworkSection, number: int, *, is_last: bool, acting_share: float
    ) -> Self:
        """The layer again; that of the outputs is linear, whatever an old file calls it."""
        state.check_shapes({INPUT: state.shape})
        name = OUTPUT_ACTIVATION if is_last else state.activation
        if not is_last and name not in NEGATIVE_SLOPES:
            raise ValueError(f'activation "{quoted(name)}": expected one of {", ".join(NEGATIVE_SLOPES)}')
        share = ALL_ACT if is_last else acting_share
        incoming = connections_from_state(state.connections[INPUT], state.parameters["weight"], share)
        return cls(
            incoming,
            state.parameters["bias"],
            negative_slope(name, config.alpha if is_last else config.alpha_of(number), number + 2),
            name,
        )

    def gradient(self, delta: Tiles, source: Tiles) -> tuple[Float32Array, Float32Array]:
        """Gradient at each connection float32[n] and bias float32[n_out], without changing anything."""
        gradients = {"weight": np.empty_like(self.weight), "bias": np.empty_like(self.bias)}
        self.backward(delta, source, {}, None, Write(gradients), None)
        return gradients["weight"], gradients["bias"]


def sparse_layers(network: HasLayers) -> list[SparseLayer]:
    """The layers of a network of sparse layers alone.

    Raises
    ------
    InputError
        One is of another kind.
    """
    found: list[SparseLayer] = []
    for number, layer in enumerate(network.layers):
        if not isinstance(layer, SparseLayer):
            raise InputError(
                f'layer {number} is of the kind "{layer.kind}": expected "{SparseLayer.kind}" in all layers'
            )
        found.append(layer)
    return found
