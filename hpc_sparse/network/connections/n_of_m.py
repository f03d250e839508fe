"""Connections in groups of inputs: exactly N of each M consecutive inputs of a neuron, a byte for the place of each.

Sources: patterns (Mishra et al. 2021, arXiv 2104.08378; Zhou et al. 2021, arXiv 2102.04010). Beside unstructured
connections, the index takes a quarter of the bytes, there are no row pointers, and a row is read within short ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse

from hpc_sparse.dtypes import INDEX, VALUE, AnyArray, Float32Array, Float64Array, Int64Array, pointer_dtype
from hpc_sparse.errors import FileFormatError
from hpc_sparse.kernels.patterns import backward, forward, gradient, structure
from hpc_sparse.kernels.patterns.transposable import choose_transposable
from hpc_sparse.kernels.sparse.gradient import bias_gradients
from hpc_sparse.kernels.threads import threads_in_use
from hpc_sparse.network.connections.csr import Csr, derivative_of
from hpc_sparse.network.connections.group_pattern import GroupChoice, GroupPattern, pattern_of_section
from hpc_sparse.network.connections.grouped_index import GroupedIndex, n_out_groups
from hpc_sparse.network.connections.initial_weights import draw_grown_weights, draw_weights
from hpc_sparse.network.connections.protocol import Adjoint, ConnectionBytes, Connections, Epilogue, Gate, ScoreRule
from hpc_sparse.network.connections.state import ConnectionState, Setting, StoredSize, StoredSizes
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.sinks import DescendMap, MapSink
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.rng import Purpose

if TYPE_CHECKING:
    from hpc_sparse.network.blueprint import LayerBlueprint

TRANSPOSABLE = "transposable"
"""Setting in files, 1, of patterns that are transposable."""


@dataclass
class NOfM(GroupChoice):
    """Connections to exactly N of each M consecutive inputs.

    A change of neurons that breaks the groups leaves unstructured connections, :class:`Csr`. The sums have the bits of
    those, whatever the tiles and the threads.

    Attributes
    ----------
    index : GroupedIndex
    weight : float32[nnz]
        One per connection, row by row.
    """

    kind: ClassVar[str] = "n_of_m"
    unit: ClassVar[tuple[int, int]] = (1, 1)
    values_per_unit: ClassVar[int] = 1
    index: GroupedIndex
    weight: Float32Array

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> NOfM:
        """New connections, chosen at random within each group."""
        pattern = pattern_of_section(blueprint.section)
        index = GroupedIndex.random(blueprint.shape, pattern, blueprint.key(Purpose.TOPOLOGY))
        return cls(index, draw_weights(blueprint.initializer, index.topology(), blueprint.key(Purpose.WEIGHTS)))

    @classmethod
    def largest(cls, matrix: scipy.sparse.csr_array, pattern: GroupPattern) -> NOfM:
        """The largest |weights| of each group, or of all that a transposable pattern allows those of largest sum.

        A group with fewer gets connections of weight 0.

        Parameters
        ----------
        matrix : scipy.sparse.csr_array
            float32 (n_out, n_in) in canonical form.
        pattern : GroupPattern
        """
        n_out, n_in = (int(n) for n in matrix.shape)
        fan_in = pattern.fan_in(n_in)
        position, weight = np.empty(n_out * fan_in, np.uint8), np.empty(n_out * fan_in, VALUE)
        rows = (matrix.indptr, matrix.indices, matrix.data)
        pattern.check_last_group(n_in)
        if pattern.is_transposable:
            choose_transposable(*rows, pattern.n, pattern.m, n_in, position, weight)
        else:
            structure.choose_largest(*rows, pattern.n, pattern.m, n_in, fan_in, position, weight)
        return cls(GroupedIndex((n_out, n_in), pattern, position), weight)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in)."""
        return self.index.shape

    @property
    def topology(self) -> Topology:
        """The connections in compressed rows, made anew each time."""
        return self.index.topology()

    def shape_with(self, topology: Topology) -> tuple[int, int]:
        """(n_out, n_in) with another topology."""
        return topology.shape

    def scores(self, by: ScoreRule = "norm") -> Float32Array:  # noqa: ARG002  (of one weight both are the same)
        """float32[nnz]: the weights."""
        return self.weight

    def rescale(self, scores: Float32Array, by: ScoreRule, initial: Callable[[], Float32Array]) -> None:  # noqa: ARG002
        """Take other weights."""
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

    def matrix(self, values: AnyArray) -> scipy.sparse.csr_array:
        """``values`` [nnz] of the weights as a SciPy matrix (n_out, n_in)."""
        return self.topology.matrix(values)

    def acting(self) -> Self:
        """The connections themselves: all act."""
        return self

    def forget_transposed(self) -> None:
        """Give the memory of the index by input neuron back."""
        self.index.forget_columns()

    def product(self, source: Tiles, epilogue: Epilogue, out: Tiles) -> None:
        """``out = epilogue(W source)``: see :class:`hpc_sparse.network.connections.protocol.Connections`."""
        t, dropout = self.index, epilogue.dropout
        sums = (t.position, t.base, self.weight, epilogue.bias, source.values, epilogue.slope)
        if dropout is None:
            forward.forward(*sums, t.bounds, source.layout, out.values)
        else:
            drop = (dropout.drop_below, dropout.scale, dropout.key, epilogue.first_row, epilogue.first_column)
            forward.forward_train(*sums, *drop, t.bounds, source.layout, out.values, epilogue.record)

    def product_alone(self, source: Float32Array, bias: Float32Array, slope: np.float32, out: Float32Array) -> None:
        """The bits of :meth:`product` for one sample; one thread."""
        forward.forward_sample(self.index.position, self.index.base, self.weight, bias, source, slope, out)

    def transposed(self, delta: Tiles, gate: Gate | None, out: Tiles) -> None:
        """``out = (W^T delta) * gate``."""
        bounds, layout = self.index.column_bounds, delta.layout
        signals = (self.weight, delta.values, *derivative_of(gate))
        backward.backward(*self.index.columns, *signals, bounds, layout, out.values)

    def adjoint(self) -> Adjoint:
        """Products with the transposed map."""

        def product(delta: Tiles, out: Tiles) -> None:
            self.transposed(delta, None, out)

        return product

    def gradient(self, delta: Tiles, source: Tiles, sink: MapSink) -> None:
        """The gradients of weights and biases; a step of SGD on one tile stores none beyond some rows."""
        if isinstance(sink, DescendMap) and delta.is_single:
            t, signals = self.index, (delta.values, source.values)
            gradient.gradient_update(t.position, t.base, *signals, t.bounds, delta.layout, *sink[:-1])
            return
        written = self._room(sink)
        self._weight_gradient(delta, source, written)
        self._accept(written, delta, sink)

    def transposed_and_gradient(
        self, delta: Tiles, source: Tiles, gate: Gate | None, sink: MapSink, out: Tiles
    ) -> None:
        """Both: each row of deltas is read once for both; ``out`` may be ``source``."""
        if gate is None:
            written = self._room(sink)
            self._weight_gradient(delta, source, written)
            self.transposed(delta, None, out)
        else:
            written = self._fused(delta, source, gate, sink, out)
        self._accept(written, delta, sink)

    def _fused(self, delta: Tiles, source: Tiles, gate: Gate, sink: MapSink, out: Tiles) -> Float32Array:
        """float32[nnz]: the gradient of the weights, from the pass that writes the deltas below."""
        columns, bounds, n = self.index.columns, self.index.column_bounds, self.weight.size
        signals = (delta.values, source.values, *derivative_of(gate), bounds)
        if delta.is_single:
            written = self._room(sink)
            backward.backward_and_gradient(*columns, self.weight, *signals, out.values, written)
            return written
        weights, gradients = sink.scratch(2 * n).reshape(2, n)
        written = self._room(sink)
        backward.bring_weights(*columns, bounds, self.weight, weights)
        index = (columns.outs, columns.counts, columns.starts)
        tiles = (threads_in_use(), delta.layout, out.values, gradients)
        backward.backward_and_gradient_of_tiles(*index, weights, *signals, *tiles)
        backward.bring_back(*columns, bounds, gradients, written)
        return written

    def gradient_of(self, delta: Tiles, source: Tiles) -> Float32Array:
        """float32[nnz]: the gradient of the weights, without changing anything."""
        found = np.empty_like(self.weight)
        self._weight_gradient(delta, source, found)
        return found

    def _room(self, sink: MapSink) -> Float32Array:
        """float32[nnz] for the gradient of the weights: where it is wanted, or the front of what is scratch."""
        return sink.scratch(self.weight.size) if isinstance(sink, DescendMap) else sink.weight_gradient

    def _weight_gradient(self, delta: Tiles, source: Tiles, out: Float32Array) -> None:
        t, tiles = self.index, (threads_in_use(), delta.layout)
        gradient.weight_gradients(t.position, t.base, delta.values, source.values, t.bounds, *tiles, out)

    def _accept(self, weight_gradient: Float32Array, delta: Tiles, sink: MapSink) -> None:
        """Give gradients to the sink, those of the biases too."""
        bounds = self.index.bounds
        if isinstance(sink, DescendMap):
            gradient.update(weight_gradient, delta.values, bounds, delta.layout, *sink[:-1])
        else:
            bias_gradients(delta.values, bounds, delta.layout, sink.bias_gradient)
            sink.accept(weight_gradient, sink.bias_gradient)

    def structure(self) -> Mapping[str, AnyArray]:
        """Positions within groups."""
        return {"position": self.index.position}

    def structure_dtypes(self, sizes: Sequence[int]) -> list[npt.DTypeLike]:  # noqa: ARG002  (bytes in any case)
        """One byte per connection."""
        return [np.uint8]

    def rebuilt(self, shape: tuple[int, int], structure: Mapping[str, AnyArray], weight: Float32Array) -> Connections:
        """Connections with another structure."""
        return replace(self, index=replace(self.index, shape=shape, position=structure["position"]), weight=weight)

    def rewired(self, topology: Topology, weight: Float32Array) -> Connections:
        """Connections with another topology; of the kind :class:`Csr` if groups have other numbers of connections."""
        index = GroupedIndex.of(topology, self.index.pattern)
        return Csr(topology, weight) if index is None else NOfM(index, weight)

    def copy(self) -> Self:
        """The same with weights of its own."""
        return replace(self, weight=self.weight.copy())

    def _strengths(self) -> tuple[Float64Array, Float64Array]:
        incoming, outgoing = (np.empty(n, np.float64) for n in self.shape)
        structure.strengths(self.index.position, self.index.base, self.weight, incoming, outgoing)
        return incoming, outgoing

    def incoming_strength(self) -> Float64Array:
        """float64[n_out]: sum of the incoming absolute weights of each neuron."""
        return self._strengths()[0]

    def outgoing_strength(self) -> Float64Array:
        """float64[n_in]: sum of the outgoing absolute weights of each neuron below."""
        return self._strengths()[1]

    def to_csr(self) -> scipy.sparse.csr_array:
        """The weights."""
        return self.matrix(self.weight)

    @classmethod
    def n_bytes(cls, n_out: int, n_in: int, n_connections: int, unit: tuple[int, int] = (1, 1)) -> ConnectionBytes:  # noqa: ARG003
        """A byte for each position; weights; two bytes by input neuron, and counts; compressed rows for a while."""
        pointer, index, value = (np.dtype(each).itemsize for each in (pointer_dtype(n_connections), INDEX, VALUE))
        counts = n_in * n_out_groups(n_out) * np.dtype(np.uint16).itemsize
        return ConnectionBytes(
            structure={"positions in groups": n_connections},
            weights=n_connections * value,
            transposed=2 * n_connections + counts + (n_in + 1) * pointer,
            topology=n_connections * index + (n_out + 1) * pointer,
        )

    def state(self) -> ConnectionState:
        """Positions, and the pattern."""
        pattern = self.index.pattern
        settings: dict[str, Setting] = {"pattern": str(pattern)}
        settings |= {TRANSPOSABLE: 1} if pattern.is_transposable else {}
        return ConnectionState(self.kind, self.shape, self.weight.size, self.structure(), settings)

    @classmethod
    def stored_sizes(cls, shape: tuple[int, int], n_units: int, settings: Mapping[str, Setting]) -> StoredSizes:
        """A position and a weight for each connection."""
        pattern, n_out = pattern_of(settings), shape[0]
        pattern.check_last_group(shape[1])
        if n_units != n_out * pattern.fan_in(shape[1]):
            raise ValueError(
                f"{n_units} connections: expected {n_out * pattern.fan_in(shape[1])}, {pattern} of {n_out} x {shape[1]}"
            )
        return StoredSizes({"position": StoredSize(np.uint8, n_units)}, n_units)

    @classmethod
    def check_state(cls, where: str, state: ConnectionState) -> None:
        """Check that positions are within their groups and increase there."""
        pattern, position, n_in = pattern_of(state.settings), state.structure["position"], state.shape[1]
        wrong = structure.first_disorder(position, pattern.n, pattern.m, n_in, pattern.fan_in(n_in))
        if wrong >= 0:
            raise FileFormatError(
                f"{where}/position: {position[wrong]} at {wrong}: expected increasing numbers within each group of "
                f"{pattern.m} inputs"
            )
        wrong = GroupedIndex(state.shape, pattern, position).first_overfull()
        if wrong >= 0:
            raise FileFormatError(
                f"{where}/position: {position[wrong]} at {wrong}: expected an input that at most {pattern.n} of each "
                f"{pattern.m} neurons have"
            )

    @classmethod
    def from_state(cls, state: ConnectionState, weight: Float32Array) -> NOfM:
        """The connections again."""
        return cls(GroupedIndex(state.shape, pattern_of(state.settings), state.structure["position"]), weight)


def pattern_of(settings: Mapping[str, Setting]) -> GroupPattern:
    """The pattern among the settings in a file.

    Raises
    ------
    ValueError
        They are not those of the kind.
    """
    if settings.keys() - {TRANSPOSABLE} != {"pattern"} or settings.get(TRANSPOSABLE, 1) != 1:
        raise ValueError(f"settings {', '.join(sorted(settings)) or 'none'}: expected pattern")
    try:
        return GroupPattern.parse(str(settings["pattern"]), is_transposable=TRANSPOSABLE in settings)
    except ValueError as error:
        raise ValueError(f"pattern: {error}") from None
