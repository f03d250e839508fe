"""Unstructured connections in compressed sparse rows: one row of incoming connections for each output neuron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse

from hpc_sparse.checks import check_csr
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array, Float64Array, pointer_dtype
from hpc_sparse.errors import FileFormatError
from hpc_sparse.kernels.growth import compaction
from hpc_sparse.kernels.sparse import backward, forward, gradient
from hpc_sparse.kernels.sparse.single_sample import forward_sample
from hpc_sparse.network.connections.initial_topology import draw_topology
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.connections.protocol import ConnectionBytes, Epilogue, Gate
from hpc_sparse.network.connections.state import ConnectionState, Setting, StoredSize, StoredSizes
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.sinks import DescendMap, MapSink
from hpc_sparse.rng import Purpose

if TYPE_CHECKING:
    from hpc_sparse.network.blueprint import LayerBlueprint


@dataclass
class Csr:
    """Unstructured connections.

    Attributes
    ----------
    topology : Topology
    weight : float32[nnz]
        One per connection, in the topology's order.
    """

    kind: ClassVar[str] = "csr"
    values_per_unit: ClassVar[int] = 1
    topology: Topology
    weight: Float32Array

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Csr:
        """New connections, all of which act."""
        topology = draw_topology(blueprint.pattern, blueprint.shape, blueprint.density, blueprint.key(Purpose.TOPOLOGY))
        return cls(topology, draw_weights(blueprint.initializer, topology, blueprint.key(Purpose.WEIGHTS)))

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in)."""
        return self.topology.shape

    def multipliers(self) -> Float32Array:
        """float32[nnz]: what signals are multiplied by in the forward pass that follows."""
        return self.weight

    def multipliers_of_last_product(self) -> Float32Array:
        """float32[nnz]: what signals were multiplied by in the last forward pass, for the backward pass."""
        return self.weight

    def product(self, source: AnyArray, epilogue: Epilogue, out: AnyArray) -> None:
        """``out = epilogue(W source)``: see :class:`hpc_sparse.network.connections.protocol.Connections`."""
        t, weight, dropout = self.topology, self.multipliers(), epilogue.dropout
        if dropout is None:
            forward.forward(t.indptr, t.indices, weight, epilogue.bias, source, epilogue.slope, t.bounds, out)
        else:
            forward.forward_train(
                t.indptr,
                t.indices,
                weight,
                epilogue.bias,
                source,
                epilogue.slope,
                dropout.drop_below,
                dropout.scale,
                dropout.key,
                epilogue.first_row,
                epilogue.first_column,
                t.bounds,
                out,
                epilogue.record,
            )

    def product_alone(self, source: Float32Array, bias: Float32Array, slope: np.float32, out: Float32Array) -> None:
        """The bits of :meth:`product` for one sample; one thread."""
        t = self.topology
        forward_sample(t.indptr, t.indices, self.multipliers(), bias, source, slope, out)

    def transposed(self, delta: AnyArray, gate: Gate | None, out: AnyArray) -> None:
        """``out = (W^T delta) * gate``."""
        t, weight = self.topology.transposed, self.multipliers_of_last_product()
        if gate is None:
            backward.transposed(t.indptr, t.outs, t.position, weight, delta, t.bounds, out)
        else:
            backward.backward(
                t.indptr, t.outs, t.position, weight, delta, gate.record, gate.slope, gate.scale, t.bounds, out
            )

    def gradient(self, delta: AnyArray, source: AnyArray, sink: MapSink) -> None:
        """The gradients of weights and biases; a step of SGD stores none beyond a block of rows."""
        t = self.topology
        if isinstance(sink, DescendMap):
            gradient.gradient_update(t.indptr, t.indices, delta, source, t.bounds, *sink[:-1])
        else:
            written = sink.weight_gradient, sink.bias_gradient
            gradient.weight_gradients(t.indptr, t.indices, delta, source, t.bounds, written[0])
            gradient.bias_gradients(delta, t.bounds, written[1])
            sink.accept(*written)

    def transposed_and_gradient(
        self, delta: AnyArray, source: AnyArray, gate: Gate | None, sink: MapSink, out: AnyArray
    ) -> None:
        """Both: each row of deltas is read once for both where the width allows; ``out`` may be ``source``."""
        t = self.topology
        if isinstance(sink, DescendMap):
            scratch = sink.scratch(self.weight.size)
            self._transposed_and_weight_gradient(delta, source, gate, out, scratch)
            gradient.update(t.indptr, scratch, delta, t.bounds, *sink[:-1])
        else:
            written = sink.weight_gradient, sink.bias_gradient
            self._transposed_and_weight_gradient(delta, source, gate, out, written[0])
            gradient.bias_gradients(delta, t.bounds, written[1])
            sink.accept(*written)

    def _transposed_and_weight_gradient(
        self, delta: AnyArray, source: AnyArray, gate: Gate | None, out: AnyArray, weight_gradient: Float32Array
    ) -> None:
        if gate is None or delta.shape[1] not in backward.FUSED_STRIDES:
            t = self.topology
            gradient.weight_gradients(t.indptr, t.indices, delta, source, t.bounds, weight_gradient)
            self.transposed(delta, gate, out)
            return
        index = self.topology.transposed
        connections = (index.indptr, index.outs, index.position, self.multipliers_of_last_product())
        derivative = (gate.record, gate.slope, gate.scale)
        backward.backward_and_gradient(*connections, delta, source, *derivative, index.bounds, out, weight_gradient)

    def gradient_of(self, delta: AnyArray, source: AnyArray) -> Float32Array:
        """float32[nnz]: the gradient of the weights, without changing anything."""
        t, found = self.topology, np.empty_like(self.weight)
        gradient.weight_gradients(t.indptr, t.indices, delta, source, t.bounds, found)
        return found

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
        return replace(self, topology=topology, weight=weight)

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

    def to_csr(self) -> scipy.sparse.csr_array:
        """The weights that signals are multiplied by."""
        return self.topology.matrix(self.multipliers())

    @classmethod
    def n_bytes(cls, n_out: int, n_in: int, n_connections: int) -> ConnectionBytes:
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
