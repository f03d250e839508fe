"""Connections: the linear map of a layer, of which only existing connections are stored.

A kind of connections knows no activation and no neighbour. What surrounds its products comes as values: the epilogue
of the forward pass, the gate of the backward pass, the sink of the gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse

from hpc_sparse.config.layers import ConnectionKind
from hpc_sparse.dtypes import AnyArray, Float32Array, Float64Array, Int64Array, UInt16Array
from hpc_sparse.network.connections.state import ConnectionState, Setting, StoredSizes
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.sinks import MapSink
from hpc_sparse.network.tiles import Tiles

if TYPE_CHECKING:
    from hpc_sparse.network.blueprint import LayerBlueprint

Adjoint: TypeAlias = Callable[[Tiles, Tiles], None]
"""``adjoint(delta, out)``: ``out = W^T delta``."""

INPUT = "input"
"""Name of a layer's connections to the layer below."""


ScoreRule: TypeAlias = Literal["norm", "largest"]
"""Score of a unit of several weights: their Euclidean norm, or the largest |weight|."""


class Epilogue(NamedTuple):
    """Operations on the weighted sums of a forward pass before they leave the registers.

    Attributes
    ----------
    bias : float32[n_out]
        Added to the sums.
    slope : float32
        Slope of the activation below 0; 1 for none.
    dropout : Dropout or None
        In training only.
    record : uint16[n] or None
        Overwritten with what the backward pass needs (:mod:`hpc_sparse.kernels.simd.activation`); given with dropout.
    first_row, first_column : int
        Numbers of the first neuron and the first sample here, for the random numbers of dropout.
    """

    bias: Float32Array
    slope: np.float32
    dropout: Dropout | None = None
    record: UInt16Array | None = None
    first_row: int = 0
    first_column: int = 0


class Gate(NamedTuple):
    """Derivative of a piecewise linear activation and its dropout, which the layer above multiplies into its deltas.

    Attributes
    ----------
    slope, scale : float32
        Slope below 0, and the factor of the activations that dropout has kept.
    record : uint16[n]
        From the forward pass.
    """

    slope: np.float32
    scale: np.float32
    record: UInt16Array


class ConnectionBytes(NamedTuple):
    """Bytes that connections take.

    Attributes
    ----------
    structure : dict of str to int
        What says which ones there are, by the names that a plan shows.
    weights : int
    transposed : int
        What the backward pass needs beside them.
    topology : int
        Its topology in compressed rows, where that is made for whoever asks and not kept.
    """

    structure: Mapping[str, int]
    weights: int
    transposed: int
    topology: int = 0


class Connections(ConnectionKind, Protocol):
    """A linear map from ``n_in`` to ``n_out`` neurons.

    Attributes
    ----------
    kind : str
        Its name in configurations and checkpoints.
    topology : Topology
        Which units there are, and within which groups they may come and go; may be made anew each time.
    weight : float32[n]
        Learned; of all units, in the topology's order, as many values for each.
    evolves : bool
        Whether units of hidden layers may come and go.
    """

    kind: ClassVar[str]
    evolves: ClassVar[bool]
    weight: Float32Array

    @property
    def topology(self) -> Topology:
        """Which units there are."""
        ...

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Connections:
        """The connections of a new layer to the layer below."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in) in neurons."""
        ...

    @property
    def unit(self) -> tuple[int, int]:
        """(r, c): neurons above and below whose connections come and go as one."""
        ...

    @property
    def values_per_unit(self) -> int:
        """Weights of a unit."""
        ...

    def shape_with(self, topology: Topology) -> tuple[int, int]:
        """(n_out, n_in) in neurons with other units."""
        ...

    def scores(self, by: ScoreRule = "norm") -> Float32Array:
        """float32[n_units]: what strategies go by when they drop: the weight of a connection, or the size of a unit."""
        ...

    def rescale(self, scores: Float32Array, by: ScoreRule, initial: Callable[[], Float32Array]) -> None:
        """Give the units other scores.

        Parameters
        ----------
        scores : float32[n_units]
        by : "norm" or "largest"
        initial : callable
            Initial weights of all units, for those that are 0: they get the same proportions.
        """
        ...

    def shrink(self, amount: float) -> None:
        """Make the Euclidean norm of every unit smaller by ``amount``, in place; units below it become 0."""
        ...

    def initial_weight(self, topology: Topology, initializer: str, key: np.uint64) -> Float32Array:
        """float32[n]: weights that the units of a topology of this shape have in a new layer."""
        ...

    def draw_grown(self, old_position: Int64Array, initializer: str, key: np.uint64) -> None:
        """Overwrite the weights of the units whose ``old_position`` int64[n_units] is -1 by initial ones."""
        ...

    def pairs(self) -> Topology:
        """Pairs of connected neurons, for analysis; made anew where a unit is more than one."""
        ...

    def matrix(self, values: AnyArray) -> scipy.sparse.csr_array:
        """``values`` [n] that belong to the weights as a matrix (n_out, n_in)."""
        ...

    def acting(self) -> Connections:
        """Connections of which all act and whose products are these: most times these themselves."""
        ...

    def structure(self) -> Mapping[str, AnyArray]:
        """The arrays of integers that say which units there are, by name."""
        ...

    def structure_dtypes(self, sizes: Sequence[int]) -> list[npt.DTypeLike]:
        """Types of the arrays of :meth:`structure`, told by their sizes."""
        ...

    def rebuilt(self, shape: tuple[int, int], structure: Mapping[str, AnyArray], weight: Float32Array) -> Connections:
        """Connections of the same kind and settings with another structure, not checked."""
        ...

    def rewired(self, topology: Topology, weight: Float32Array) -> Connections:
        """Connections of the same kind and settings with other units."""
        ...

    def forget_transposed(self) -> None:
        """Give the memory of what only the backward pass needs back; it is made again if it is needed again."""
        ...

    def product(self, source: Tiles, epilogue: Epilogue, out: Tiles) -> None:
        """``out = epilogue(W source)``; ``source`` of n_in neurons, ``out`` of n_out is overwritten."""
        ...

    def product_alone(self, source: Float32Array, bias: Float32Array, slope: np.float32, out: Float32Array) -> None:
        """The bits of :meth:`product` for one sample: ``source`` float32[n_in], ``out`` float32[n_out]."""
        ...

    def transposed(self, delta: Tiles, gate: Gate | None, out: Tiles) -> None:
        """``out = (W^T delta) * gate``; ``delta`` of n_out neurons, ``out`` of n_in is overwritten."""
        ...

    def adjoint(self) -> Adjoint:
        """:meth:`transposed` without a gate and with the weights as they are now, for many calls of few tiles each."""
        ...

    def gradient(self, delta: Tiles, source: Tiles, sink: MapSink) -> None:
        """The gradients of the weights and of the rows' biases go to ``sink``."""
        ...

    def transposed_and_gradient(
        self, delta: Tiles, source: Tiles, gate: Gate | None, sink: MapSink, out: Tiles
    ) -> None:
        """Both, :meth:`transposed` with the weights as they are before; ``out`` may be ``source``."""
        ...

    def gradient_of(self, delta: Tiles, source: Tiles) -> Float32Array:
        """float32[n]: the gradient of the weights, without changing anything."""
        ...

    def incoming_strength(self) -> Float64Array:
        """float64[n_out]: sum of the incoming absolute weights of each neuron, 0 for one without connections."""
        ...

    def outgoing_strength(self) -> Float64Array:
        """float64[n_in]: sum of the outgoing absolute weights of each neuron below."""
        ...

    def to_csr(self) -> scipy.sparse.csr_array:
        """The weights that signals are multiplied by, float32 (n_out, n_in), for export and analysis."""
        ...

    def copy(self) -> Self:
        """The same with weights of its own."""
        ...

    @classmethod
    def n_bytes(cls, n_out: int, n_in: int, n_connections: int, unit: tuple[int, int] = (1, 1)) -> ConnectionBytes:
        """Bytes of so many weights in units of (r, c), for planning."""
        ...

    def state(self) -> ConnectionState:
        """What a file holds of it, but for the weights."""
        ...

    @classmethod
    def stored_sizes(cls, shape: tuple[int, int], n_units: int, settings: Mapping[str, Setting]) -> StoredSizes:
        """Sizes of the arrays that a file must hold of so many units, of which nothing has been checked.

        Raises
        ------
        ValueError
            The settings are not those of the kind.
        """
        ...

    @classmethod
    def check_state(cls, where: str, state: ConnectionState) -> None:
        """Check the content of arrays that were read, whose sizes are right; kernels rely on it.

        Raises
        ------
        FileFormatError
            The message begins with ``where``.
        """
        ...

    @classmethod
    def from_state(cls, state: ConnectionState, weight: Float32Array) -> Connections:
        """The connections again, with their weights, from a state that has been checked."""
        ...


def exact_matrix(connections: Connections, weight: Float64Array) -> scipy.sparse.csr_array:
    """The map with other weights, float64[n], in float64: for checks."""
    return connections.matrix(weight).astype(np.float64)
