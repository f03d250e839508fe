"""Block-sparse connections: blocks of r x c weights come and go as one.

Rows and increasing indices are those of :class:`hpc_sparse.network.connections.csr.Csr`, over blocks. A layer whose
widths are no multiples of the block's sides has blocks that reach beyond it: these weights are 0, are not read, and get
no gradient (Narang, Undersander, Diamos 2017, arXiv 1711.02782).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse

from hpc_sparse.checks import check_csr
from hpc_sparse.config.layers import BLOCK_SIDES
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array, Float64Array, Int64Array, pointer_dtype
from hpc_sparse.errors import FileFormatError
from hpc_sparse.kernels.block import backward, forward, gradient, weights
from hpc_sparse.kernels.block.single_sample import forward_sample
from hpc_sparse.kernels.sparse.gradient import bias_gradients
from hpc_sparse.kernels.threads import threads_in_use
from hpc_sparse.network.connections.block_choice import BlockChoice
from hpc_sparse.network.connections.csr import Csr, derivative_of
from hpc_sparse.network.connections.initial_topology import draw_topology
from hpc_sparse.network.connections.initial_weights import NORMAL_DEVIATION, UNIFORM_BOUNDS
from hpc_sparse.network.connections.protocol import Adjoint, ConnectionBytes, Epilogue, Gate, ScoreRule
from hpc_sparse.network.connections.state import ConnectionState, Setting, StoredSize, StoredSizes
from hpc_sparse.network.connections.topology import BLOCKS, Topology
from hpc_sparse.network.sinks import DescendMap, MapSink
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.partition import even_bounds
from hpc_sparse.rng import Purpose

if TYPE_CHECKING:
    from hpc_sparse.network.blueprint import LayerBlueprint

SINGLE = (1, 1)


SETTINGS = ("rows", "columns")
"""Names of the sides of a block in a file."""


@dataclass
class SingleBlock(Csr):
    """Blocks of one weight: unstructured connections, to the bit, under the name of block-sparse ones."""

    kind: ClassVar[str] = "block"

    def state(self) -> ConnectionState:
        """As :class:`Csr`, with the sides of a block."""
        return replace(super().state(), kind=self.kind, settings=dict.fromkeys(SETTINGS, 1))


@dataclass
class Block(BlockChoice):
    """Connections in blocks.

    Attributes
    ----------
    shape : (n_out, n_in)
        In neurons.
    unit : (r, c)
        Neurons above and below of a block.
    topology : Topology
        Of blocks, (ceil(n_out / r), ceil(n_in / c)).
    weight : float32[n_blocks * r * c]
        Block after block, row by row within one.
    """

    kind: ClassVar[str] = "block"
    shape: tuple[int, int]
    unit: tuple[int, int]
    topology: Topology
    weight: Float32Array

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Block | SingleBlock:
        """New connections; every block exists with the same probability, or as the blueprint's pattern has it."""
        shape, unit = blueprint.shape, blueprint.unit
        topology = draw_topology(
            blueprint.pattern, grid(shape, unit), blueprint.density, blueprint.key(Purpose.TOPOLOGY), blueprint.rewired
        )
        made = cls.of(shape, unit, topology, np.empty(0, VALUE))
        made.weight = made.initial_weight(topology, blueprint.initializer, blueprint.key(Purpose.WEIGHTS))
        return made

    @classmethod
    def of(
        cls, shape: tuple[int, int], unit: tuple[int, int], topology: Topology, weight: Float32Array
    ) -> Block | SingleBlock:
        """The connections; blocks of one weight are unstructured connections of this kind."""
        return SingleBlock(topology, weight) if unit == SINGLE else cls(shape, unit, topology, weight)

    @property
    def values_per_unit(self) -> int:
        """Weights of a block, those beyond the layer included."""
        return self.unit[0] * self.unit[1]

    def shape_with(self, topology: Topology) -> tuple[int, int]:
        """(n_out, n_in) with other units: no neuron comes or goes."""
        assert topology.shape == self.topology.shape, (topology.shape, self.topology.shape)
        return self.shape

    def forget_transposed(self) -> None:
        """Give the memory of the transposed index back."""
        self.topology.forget_transposed()

    def product(self, source: Tiles, epilogue: Epilogue, out: Tiles) -> None:
        """``out = epilogue(W source)``."""
        t, dropout = self.topology, epilogue.dropout
        sums = (t.indptr, t.indices, self.weight, self.unit, epilogue.bias, source.values, epilogue.slope)
        if dropout is None:
            forward.forward(*sums, t.bounds, source.layout, out.values)
        else:
            drop = (dropout.drop_below, dropout.scale, dropout.key, epilogue.first_row, epilogue.first_column)
            forward.forward_train(*sums, *drop, t.bounds, source.layout, out.values, epilogue.record)

    def product_alone(self, source: Float32Array, bias: Float32Array, slope: np.float32, out: Float32Array) -> None:
        """The bits of :meth:`product` for one sample; one thread."""
        t = self.topology
        forward_sample(t.indptr, t.indices, self.weight, self.unit, bias, source, slope, out)

    def transposed(self, delta: Tiles, gate: Gate | None, out: Tiles) -> None:
        """``out = (W^T delta) * gate``."""
        t = self.topology.transposed
        connections = (t.indptr, t.outs, t.position, self.weight, self.unit)
        tiles = (*derivative_of(gate), t.bounds, delta.layout, out.values)
        backward.backward(*connections, delta.values, delta.n_columns, *tiles)

    def adjoint(self) -> Adjoint:
        """Products with the transposed map."""

        def product(delta: Tiles, out: Tiles) -> None:
            self.transposed(delta, None, out)

        return product

    def gradient(self, delta: Tiles, source: Tiles, sink: MapSink) -> None:
        """The gradients of weights and biases."""
        self._accept(self._weight_gradient(delta, source, self._room(sink)), delta, sink)

    def transposed_and_gradient(
        self, delta: Tiles, source: Tiles, gate: Gate | None, sink: MapSink, out: Tiles
    ) -> None:
        """Both; a pass of its own for each, as neither waits for memory. ``out`` may be ``source``."""
        written = self._weight_gradient(delta, source, self._room(sink))
        self.transposed(delta, gate, out)
        self._accept(written, delta, sink)

    def gradient_of(self, delta: Tiles, source: Tiles) -> Float32Array:
        """float32[n]: the gradient of the weights, without changing anything."""
        return self._weight_gradient(delta, source, np.empty_like(self.weight))

    def _room(self, sink: MapSink) -> Float32Array:
        return sink.scratch(self.weight.size) if isinstance(sink, DescendMap) else sink.weight_gradient

    def _weight_gradient(self, delta: Tiles, source: Tiles, out: Float32Array) -> Float32Array:
        t = self.topology
        blocks = (t.indptr, t.indices, self.unit, self.shape[0])
        tiles = (t.bounds, threads_in_use(), delta.layout)
        gradient.weight_gradients(*blocks, delta.values, source.values, *tiles, out)
        return out

    def _accept(self, weight_gradient: Float32Array, delta: Tiles, sink: MapSink) -> None:
        """Give gradients to the sink, those of the biases too."""
        bias_gradient = np.empty(self.shape[0], VALUE) if isinstance(sink, DescendMap) else sink.bias_gradient
        bias_gradients(delta.values, even_bounds(self.shape[0], BLOCKS), delta.layout, bias_gradient)
        sink.accept(weight_gradient, bias_gradient)

    def scores(self, by: ScoreRule = "norm") -> Float32Array:
        """float32[n_blocks]: the norm of each block, or its largest |weight|."""
        values = self.weight.reshape(-1, self.values_per_unit)
        found = np.abs(values).max(axis=1, initial=0) if by == "largest" else weights.norms(values)
        return np.asarray(found, VALUE)

    def rescale(self, scores: Float32Array, by: ScoreRule, initial: Callable[[], Float32Array]) -> None:
        """Give the blocks these scores; one whose weights are all 0 gets the proportions of its initial weights."""
        before = self.scores(by)
        values = self.weight.reshape(-1, self.values_per_unit)
        is_new = (before == 0) & (scores != 0)
        if is_new.any():
            values[is_new] = initial().reshape(values.shape)[is_new]
            before = self.scores(by)
        np.multiply(values, (scores / np.where(before > 0, before, VALUE(1)))[:, None], out=values)

    def shrink(self, amount: float) -> None:
        """Make the norm of every block smaller by ``amount``, in place; blocks below it become 0."""
        weights.shrink(self.weight.reshape(-1, self.values_per_unit), VALUE(amount))

    def initial_weight(self, topology: Topology, initializer: str, key: np.uint64) -> Float32Array:
        """float32[n]: weights that the blocks of a topology have in a new layer."""
        made = replace(self, topology=topology, weight=np.zeros(topology.n_connections * self.values_per_unit, VALUE))
        made.draw_grown(np.full(topology.n_connections, -1, OFFSET), initializer, key)
        return made.weight

    def draw_grown(self, old_position: Int64Array, initializer: str, key: np.uint64) -> None:
        """Overwrite the weights of blocks whose ``old_position`` is -1 by initial ones."""
        t = self.topology
        blocks = (t.indptr, t.indices, old_position, self.shape, self.unit)
        if initializer == "normal":
            weights.fill_normal(*blocks, NORMAL_DEVIATION, key, t.bounds, self.weight)
        else:
            weights.fill_uniform(*blocks, UNIFORM_BOUNDS[initializer](self), key, t.bounds, self.weight)

    def fan_in(self) -> Int64Array:
        """int64[n_out]: incoming connections of each neuron."""
        t, (n_out, n_in), (r, c) = self.topology, self.shape, self.unit
        n_columns = np.minimum(c, n_in - t.indices.astype(OFFSET) * c)
        sums = np.concatenate([[0], np.cumsum(n_columns)])
        return np.repeat(np.diff(sums[t.indptr]), r)[:n_out].astype(OFFSET)

    def structure(self) -> Mapping[str, AnyArray]:
        """Row pointers and block columns."""
        return {"indptr": self.topology.indptr, "indices": self.topology.indices}

    def structure_dtypes(self, sizes: Sequence[int]) -> list[npt.DTypeLike]:
        """Types of row pointers and block columns."""
        return [pointer_dtype(sizes[1]), INDEX]

    def rebuilt(self, shape: tuple[int, int], structure: Mapping[str, AnyArray], weight: Float32Array) -> Block:
        """Connections with another structure."""
        topology = Topology(grid(shape, self.unit), structure["indptr"], structure["indices"])
        return replace(self, shape=shape, topology=topology, weight=weight)

    def rewired(self, topology: Topology, weight: Float32Array) -> Block:
        """Connections with other blocks."""
        return replace(self, topology=topology, weight=weight)

    def acting(self) -> Self:
        """The connections themselves: all act."""
        return self

    def copy(self) -> Self:
        """The same with weights of its own."""
        return replace(self, weight=self.weight.copy())

    def incoming_strength(self) -> Float64Array:
        """float64[n_out]: sum of the incoming absolute weights of each neuron."""
        return np.asarray(abs(self.to_csr()).sum(axis=1, dtype=np.float64)).reshape(-1)

    def outgoing_strength(self) -> Float64Array:
        """float64[n_in]: sum of the outgoing absolute weights of each neuron below."""
        return np.asarray(abs(self.to_csr()).sum(axis=0, dtype=np.float64)).reshape(-1)

    def pairs(self) -> Topology:
        """Pairs of connected neurons, which are not stored."""
        t = self.topology
        indptr = np.concatenate([[0], np.cumsum(self.fan_in())]).astype(OFFSET)
        indices = np.empty(int(indptr[-1]), INDEX)
        weights.fill_pairs(t.indptr, t.indices, self.shape, self.unit, indptr, indices)
        return Topology(self.shape, indptr, indices)

    def matrix(self, values: AnyArray) -> scipy.sparse.csr_array:
        """``values`` [n] of the weights as a SciPy matrix (n_out, n_in)."""
        pairs = self.pairs()
        arranged = np.empty(pairs.n_connections, values.dtype)
        t = self.topology
        weights.arrange(t.indptr, t.indices, self.shape, self.unit, pairs.indptr, values, arranged)
        return pairs.matrix(arranged)

    def to_csr(self) -> scipy.sparse.csr_array:
        """The weights as a matrix of single connections."""
        return self.matrix(self.weight)

    def to_bsr(self) -> scipy.sparse.bsr_array:
        """The weights as SciPy's BSR matrix, with the zeros beyond the layer: (n_block_rows r, n_block_columns c)."""
        (r, c), t = self.unit, self.topology
        blocks: Any = (self.weight.reshape(-1, r, c), t.indices, t.indptr)
        return scipy.sparse.bsr_array(blocks, shape=(t.shape[0] * r, t.shape[1] * c))

    @classmethod
    def n_bytes(cls, n_out: int, n_in: int, n_connections: int, unit: tuple[int, int] = SINGLE) -> ConnectionBytes:
        """As :class:`~hpc_sparse.network.connections.csr.Csr`, an index for each block."""
        n_blocks, (n_rows, n_columns) = n_connections // (unit[0] * unit[1]), grid((n_out, n_in), unit)
        whole = SingleBlock.n_bytes(n_rows, n_columns, n_blocks)
        return whole._replace(weights=n_connections * np.dtype(VALUE).itemsize)

    def state(self) -> ConnectionState:
        """Row pointers and block columns."""
        settings = dict(zip(SETTINGS, self.unit, strict=True))
        return ConnectionState(self.kind, self.shape, self.topology.n_connections, self.structure(), settings)

    @classmethod
    def stored_sizes(cls, shape: tuple[int, int], n_units: int, settings: Mapping[str, Setting]) -> StoredSizes:
        """Row pointers and block columns, and the weights of each block."""
        unit = _unit_of(settings)
        structure = {
            "indptr": StoredSize(OFFSET, grid(shape, unit)[0] + 1),
            "indices": StoredSize(INDEX, n_units),
        }
        return StoredSizes(structure, n_units * unit[0] * unit[1])

    @classmethod
    def check_state(cls, where: str, state: ConnectionState) -> None:
        """Check that rows are sorted and all blocks in range."""
        n_columns = grid(state.shape, _unit_of(state.settings))[1]
        check_csr(where, state.structure["indptr"], state.structure["indices"], n_columns, error=FileFormatError)

    @classmethod
    def from_state(cls, state: ConnectionState, weight: Float32Array) -> Block | SingleBlock:
        """The connections again; weights beyond the layer are 0, whatever a file says."""
        unit = _unit_of(state.settings)
        topology = Topology(grid(state.shape, unit), state.structure["indptr"], state.structure["indices"])
        if unit != SINGLE and any(n % side for n, side in zip(state.shape, unit, strict=True)):
            weight = weight.copy()
            weights.clear_edges(topology.indptr, topology.indices, state.shape, unit, weight)
        return cls.of(state.shape, unit, topology, weight)


def grid(shape: tuple[int, int], unit: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of blocks that cover a layer."""
    return -(-shape[0] // unit[0]), -(-shape[1] // unit[1])


def _unit_of(settings: Mapping[str, Setting]) -> tuple[int, int]:
    """The sides of a stored block.

    Raises
    ------
    ValueError
        They are not those of a block.
    """
    if set(settings) != set(SETTINGS):
        raise ValueError(f"settings {', '.join(sorted(settings)) or 'none'}: expected {', '.join(SETTINGS)}")
    sides = [settings[name] for name in SETTINGS]
    for name, side in zip(SETTINGS, sides, strict=True):
        if side not in BLOCK_SIDES:
            raise ValueError(f"{name} = {side}: expected one of {', '.join(map(str, BLOCK_SIDES))}")
    r, c = (int(side) for side in sides)
    return r, c
