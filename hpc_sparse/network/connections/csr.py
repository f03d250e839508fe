"""Unstructured connections in compressed sparse rows: one row of incoming connections for each output neuron."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse

from hpc_sparse.checks import check_csr
from hpc_sparse.dtypes import (
    INDEX,
    OFFSET,
    VALUE,
    AnyArray,
    Float32Array,
    Float64Array,
    Int64Array,
    UInt16Array,
    pointer_dtype,
)
from hpc_sparse.errors import FileFormatError
from hpc_sparse.kernels.growth import compaction
from hpc_sparse.kernels.sparse import backward, forward, gradient
from hpc_sparse.kernels.sparse.single_sample import forward_sample
from hpc_sparse.kernels.threads import threads_in_use
from hpc_sparse.network.connections.choice import FreeChoice
from hpc_sparse.network.connections.initial_topology import draw_topology
from hpc_sparse.network.connections.initial_weights import draw_grown_weights, draw_weights
from hpc_sparse.network.connections.protocol import Adjoint, ConnectionBytes, Epilogue, Gate, ScoreRule
from hpc_sparse.network.connections.state import ConnectionState, Setting, StoredSize, StoredSizes
from hpc_sparse.network.connections.topology import Topology, TransposedIndex
from hpc_sparse.network.sinks import DescendMap, MapSink
from hpc_sparse.network.tiles import SourceRows, Tiles
from hpc_sparse.rng import Purpose

if TYPE_CHECKING:
    from hpc_sparse.network.blueprint import LayerBlueprint

NO_RECORD: UInt16Array = np.empty(0, np.uint16)
"""The record of a layer that applies its own derivative."""


@dataclass
class Csr(FreeChoice):
    """Unstructured connections.

    Attributes
    ----------
    topology : Topology
    weight : float32[nnz]
        One per connection, in the topology's order.
    outgoing : TransposedIndex or None
        Connections by input neuron that a placement gives; None: those of the topology.
    """

    kind: ClassVar[str] = "csr"
    unit: ClassVar[tuple[int, int]] = (1, 1)
    values_per_unit: ClassVar[int] = 1
    topology: Topology
    weight: Float32Array
    outgoing: TransposedIndex | None = field(default=None, kw_only=True)

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Csr:
        """New connections, all of which act: those that are given, or random ones."""
        topology, key = blueprint.topology, blueprint.key(Purpose.TOPOLOGY)
        if topology is None:
            topology = draw_topology(blueprint.pattern, blueprint.shape, blueprint.density, key, blueprint.rewired)
        return cls(topology, draw_weights(blueprint.initializer, topology, blueprint.key(Purpose.WEIGHTS)))

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in)."""
        return self.topology.shape

    @property
    def by_input(self) -> TransposedIndex:
        """The connections grouped by input neuron."""
        return self.topology.transposed if self.outgoing is None else self.outgoing

    def forget_transposed(self) -> None:
        """Give the memory of the transposed index back."""
        self.topology.forget_transposed()

    def shape_with(self, topology: Topology) -> tuple[int, int]:
        """(n_out, n_in) with another topology."""
        return topology.shape

    def multipliers(self) -> Float32Array:
        """float32[nnz]: what signals are multiplied by in the forward pass that follows."""
        return self.weight

    def multipliers_of_last_product(self) -> Float32Array:
        """float32[nnz]: what signals were multiplied by in the last forward pass, for the backward pass."""
        return self.weight

    def product(self, source: Tiles, epilogue: Epilogue, out: Tiles) -> None:
        """``out = epilogue(W source)``: see :class:`hpc_sparse.network.connections.protocol.Connections`."""
        self._product(source, epilogue, out)

    def _product(self, source: SourceRows, epilogue: Epilogue, out: Tiles) -> None:
        t, dropout = self.topology, epilogue.dropout
        sums = (t.indptr, t.indices, self.multipliers(), epilogue.bias, source.values, epilogue.slope)
        if dropout is None:
            forward.forward(*sums, t.bounds, source.layout, out.values)
        else:
            drop = (dropout.drop_below, dropout.scale, dropout.key, epilogue.first_row, epilogue.first_column)
            forward.forward_train(*sums, *drop, t.bounds, source.layout, out.values, epilogue.record)

    def product_alone(self, source: Float32Array, bias: Float32Array, slope: np.float32, out: Float32Array) -> None:
        """The bits of :meth:`product` for one sample; one thread."""
        t = self.topology
        forward_sample(t.indptr, t.indices, self.multipliers(), bias, source, slope, out)

    def transposed(self, delta: Tiles, gate: Gate | None, out: Tiles) -> None:
        """``out = (W^T delta) * gate``."""
        self._transposed(delta, gate, out)

    def _transposed(self, delta: SourceRows, gate: Gate | None, out: Tiles) -> None:
        t = self.by_input
        connections = (t.indptr, t.outs, t.position, self.multipliers_of_last_product())
        backward.backward(*connections, delta.values, *derivative_of(gate), t.bounds, delta.layout, out.values)

    def adjoint(self) -> Adjoint:
        """Products with the transposed map, whose weights are brought into its order once; the bits of both agree."""
        t = self.by_input
        weight, no_bias, linear = (
            self.multipliers_of_last_product()[t.position],
            np.zeros(self.shape[1], VALUE),
            VALUE(1),
        )

        def product(delta: Tiles, out: Tiles) -> None:
            connections = (t.indptr, t.outs, weight, no_bias)
            forward.forward(*connections, delta.values, linear, t.bounds, delta.layout, out.values)

        return product

    def gradient(self, delta: Tiles, source: Tiles, sink: MapSink) -> None:
        """The gradients of weights and biases; a step of SGD on one tile stores none beyond a block of rows."""
        if isinstance(sink, DescendMap) and delta.is_single:
            t, signals = self.topology, (delta.values, source.values)
            gradient.gradient_update(t.indptr, t.indices, *signals, t.bounds, delta.layout, *sink[:-1])
            return
        self._accept(self._gradient_parts(delta, source, sink), delta, sink)

    def transposed_and_gradient(
        self, delta: Tiles, source: Tiles, gate: Gate | None, sink: MapSink, out: Tiles
    ) -> None:
        """Both: each row of deltas is read once for both; ``out`` may be ``source``."""
        if gate is None:
            parts = self._gradient_parts(delta, source, sink)
            self.transposed(delta, None, out)
        else:
            parts = self._fused(delta, source, gate, sink, out)
        self._accept(parts, delta, sink)

    def _fused(self, delta: SourceRows, source: Tiles, gate: Gate, sink: MapSink, out: Tiles) -> Float32Array:
        """float32[n_parts, nnz]: the gradient of the weights, from the pass that writes the deltas below."""
        t, n = self.by_input, self.weight.size
        connections = (t.indptr, t.outs, t.position, self.multipliers_of_last_product())
        signals = (delta.values, source.values, *derivative_of(gate), t.bounds)
        if delta.is_single:
            written = self._room(sink)
            backward.backward_and_gradient(*connections, *signals, out.values, written)
        elif isinstance(sink, DescendMap) and delta.gradient_parts > 1:
            parts = sink.scratch(delta.n_tiles * n).reshape(delta.n_tiles, n)
            backward.backward_and_gradient_by_tile(*connections, *signals, delta.layout, out.values, parts)
            return parts
        else:
            transposed = sink.scratch(2 * n).reshape(2, n)
            written = self._room(sink)
            tiles = (threads_in_use(), delta.layout, out.values, transposed, written)
            backward.backward_and_gradient_of_tiles(*connections, *signals, *tiles)
        return written.reshape(1, n)

    def _gradient_parts(self, delta: Tiles, source: Tiles, sink: MapSink) -> Float32Array:
        """float32[n_parts, nnz]: the gradient of the weights."""
        t, n = self.topology, self.weight.size
        if not isinstance(sink, DescendMap) or source.gradient_parts == 1:
            written = self._room(sink)
            self._weight_gradient(delta, source, written)
            return written.reshape(1, n)
        parts = sink.scratch(delta.n_tiles * n).reshape(delta.n_tiles, n)
        signals = (delta.values, source.values, t.bounds, delta.layout)
        gradient.weight_gradients_by_tile(t.indptr, t.indices, *signals, parts)
        return parts

    def gradient_of(self, delta: Tiles, source: Tiles) -> Float32Array:
        """float32[nnz]: the gradient of the weights, without changing anything."""
        found = np.empty_like(self.weight)
        self._weight_gradient(delta, source, found)
        return found

    def _room(self, sink: MapSink) -> Float32Array:
        """float32[nnz] for the gradient of the weights: where it is wanted, or the front of what is scratch."""
        return sink.scratch(self.weight.size) if isinstance(sink, DescendMap) else sink.weight_gradient

    def _weight_gradient(self, delta: Tiles, source: Tiles, out: Float32Array) -> None:
        t = self.topology
        signals, tiles = (delta.values, source.values), (threads_in_use(), delta.layout)
        gradient.weight_gradients(t.indptr, t.indices, *signals, t.bounds, *tiles, out)

    def _accept(self, parts: Float32Array, delta: Tiles, sink: MapSink) -> None:
        """Give gradients to the sink, those of the biases too."""
        t = self.topology
        if isinstance(sink, DescendMap):
            gradient.update(t.indptr, parts, delta.values, t.bounds, delta.layout, *sink[:-1])
        else:
            bias_gradient = sink.bias_gradient
            gradient.bias_gradients(delta.values, t.bounds, delta.layout, bias_gradient)
            (weight_gradient,) = parts
            sink.accept(weight_gradient, bias_gradient)

    def scores(self, by: ScoreRule = "norm") -> Float32Array:  # noqa: ARG002  (the same for one weight)
        """float32[nnz]: the weights themselves, with their signs."""
        return self.weight

    def rescale(self, scores: Float32Array, by: ScoreRule, initial: Callable[[], Float32Array]) -> None:  # noqa: ARG002
        """Go on with these weights."""
        self.weight = scores

    def shrink(self, amount: float) -> None:
        """Make every |weight| smaller by ``amount``, in place, at least 0."""
        size = np.maximum(np.abs(self.weight) - VALUE(amount), VALUE(0))
        np.copysign(size, self.weight, out=self.weight)

    def initial_weight(self, topology: Topology, initializer: str, key: np.uint64) -> Float32Array:
        """float32[nnz]: weights that the connections of a topology have in a new layer."""
        return draw_weights(initializer, topology, key)

    def draw_grown(self, old_position: Int64Array, initializer: str, key: np.uint64) -> None:
        """Overwrite the weights whose ``old_position`` is -1 by initial ones."""
        draw_grown_weights(initializer, self.topology, old_position, key, self.weight)

    def pairs(self) -> Topology:
        """The topology: its connections are pairs of neurons."""
        return self.topology

    def acting(self) -> Csr:
        """Connections that all act and give the same products: these themselves."""
        return self

    def structure(self) -> Mapping[str, AnyArray]:
        """Row pointers and input neurons."""
        return {"indptr": self.topology.indptr, "indices": self.topology.indices}

    def structure_dtypes(self, sizes: Sequence[int]) -> list[npt.DTypeLike]:
        """Types of row pointers and input neurons."""
        return [pointer_dtype(sizes[1]), INDEX]

    def rebuilt(self, shape: tuple[int, int], structure: Mapping[str, AnyArray], weight: Float32Array) -> Csr:
        """Connections with another structure."""
        return self.rewired(Topology(shape, structure["indptr"], structure["indices"]), weight)

    def rewired(self, topology: Topology, weight: Float32Array) -> Csr:
        """Connections with another topology."""
        return replace(self, topology=topology, weight=weight, outgoing=None)

    def copy(self) -> Self:
        """The same with weights of its own."""
        return replace(self, weight=self.weight.copy())

    def incoming_strength(self) -> Float64Array:
        """float64[n_out]: sum of the incoming absolute weights of each neuron, 0 for one without connections."""
        strength = np.empty(self.shape[0], np.float64)
        compaction.incoming_strength(self.topology.indptr, self.weight, self.topology.bounds, strength)
        return strength

    def outgoing_strength(self) -> Float64Array:
        """float64[n_in]: sum of the outgoing absolute weights of each neuron below."""
        strength = np.empty(self.shape[1], np.float64)
        compaction.outgoing_strength(self.topology.indices, self.weight, strength)
        return strength

    def matrix(self, values: AnyArray) -> scipy.sparse.csr_array:
        """``values`` [nnz] of the weights as a SciPy matrix (n_out, n_in)."""
        return self.topology.matrix(values)

    def to_csr(self) -> scipy.sparse.csr_array:
        """The weights that signals are multiplied by."""
        return self.matrix(self.multipliers())

    @classmethod
    def n_bytes(cls, n_out: int, n_in: int, n_connections: int, unit: tuple[int, int] = (1, 1)) -> ConnectionBytes:  # noqa: ARG003
        """Indices and row pointers; weights; the same connections grouped by input neuron, with their positions."""
        pointer, index, value = (np.dtype(each).itemsize for each in (pointer_dtype(n_connections), INDEX, VALUE))
        return ConnectionBytes(
            structure={"connections": n_connections * index, "row pointers": (n_out + 1) * pointer},
            weights=n_connections * value,
            transposed=n_connections * (index + pointer) + (n_in + 1) * pointer,
        )

    def state(self) -> ConnectionState:
        """Row pointers and input neurons; dense connections are stored as what they are, rows that are full."""
        return ConnectionState(Csr.kind, self.shape, self.topology.n_connections, self.structure())

    @classmethod
    def stored_sizes(cls, shape: tuple[int, int], n_units: int, settings: Mapping[str, Setting]) -> StoredSizes:
        """Row pointers and input neurons, and a weight for each connection."""
        if settings:
            raise ValueError(f"setting {min(settings)}: expected none")
        structure = {"indptr": StoredSize(OFFSET, shape[0] + 1), "indices": StoredSize(INDEX, n_units)}
        return StoredSizes(structure, n_units)

    @classmethod
    def check_state(cls, where: str, state: ConnectionState) -> None:
        """Check that rows are sorted and all numbers of neurons in range."""
        indptr, indices = state.structure["indptr"], state.structure["indices"]
        check_csr(where, indptr, indices, state.shape[1], error=FileFormatError)

    @classmethod
    def from_state(cls, state: ConnectionState, weight: Float32Array) -> Csr:
        """The connections again."""
        return cls(Topology(state.shape, state.structure["indptr"], state.structure["indices"]), weight)


def derivative_of(gate: Gate | None) -> tuple[UInt16Array, np.float32, np.float32]:
    """Record, slope and scale, as kernels take them."""
    return (NO_RECORD, VALUE(1), VALUE(1)) if gate is None else (gate.record, gate.slope, gate.scale)
