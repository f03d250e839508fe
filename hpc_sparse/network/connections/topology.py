"""Topology of a layer's connections, and its changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse

from hpc_sparse.dtypes import (
    INDEX,
    OFFSET,
    AnyArray,
    BoolArray,
    Int32Array,
    Int64Array,
    PointerArray,
    pointer_dtype,
)
from hpc_sparse.kernels.growth import connectivity
from hpc_sparse.network.connections.groups import InputGroups
from hpc_sparse.partition import balanced_bounds, even_bounds

BLOCKS = 128
"""Blocks of rows that kernels share out among threads; a fixed number, so results cannot depend on the threads."""


@dataclass(frozen=True)
class TransposedIndex:
    """The connections of a topology grouped by input neuron.

    Attributes
    ----------
    indptr : int32[n_in + 1]
    outs : int32[nnz]
        Output neuron of each connection.
    position : int32[nnz]
        Where the connection is in the topology's own order.
    bounds : int64[BLOCKS + 1]
        Blocks of input neurons with about equally many connections.

    Beyond 2^31 connections, ``indptr`` and ``position`` are int64.
    """

    indptr: PointerArray
    outs: Int32Array
    position: PointerArray
    bounds: Int64Array

    @property
    def rows(self) -> tuple[PointerArray, Int32Array]:
        """``indptr`` and ``outs``, as kernels take them one after the other."""
        return self.indptr, self.outs


@dataclass(frozen=True)
class Topology:
    """The connectivity of one layer: compressed rows, one row per output neuron. Never mutated, only replaced.

    Attributes
    ----------
    shape : (n_out, n_in)
    indptr : int32[n_out + 1], or int64 beyond 2^31 connections
        Where each output neuron's incoming connections start; may be given in either type.
    indices : int32[nnz]
        Their input neurons, increasing within a row.
    groups : InputGroups or None
        Groups within which connections may come and go, none of which changes its number; None: anywhere.
    """

    shape: tuple[int, int]
    indptr: PointerArray
    indices: Int32Array
    groups: InputGroups | None = None

    def __post_init__(self) -> None:
        narrow = self.indptr.astype(pointer_dtype(self.indices.size), copy=False)
        object.__setattr__(self, "indptr", narrow)

    @property
    def n_connections(self) -> int:
        """Stored connections (nnz)."""
        return self.indices.size

    @property
    def n_possible(self) -> int:
        """Pairs of an input and an output neuron."""
        return self.shape[0] * self.shape[1]

    @property
    def density(self) -> float:
        """Stored connections as a share of all possible ones."""
        return self.n_connections / self.n_possible

    @property
    def rows(self) -> tuple[PointerArray, Int32Array]:
        """``indptr`` and ``indices``, as kernels take them one after the other."""
        return self.indptr, self.indices

    @cached_property
    def bounds(self) -> Int64Array:
        """int64[BLOCKS + 1]: blocks of rows with about equally many connections."""
        return balanced_bounds(self.indptr, BLOCKS)

    @cached_property
    def transposed(self) -> TransposedIndex:
        """The same connections grouped by input neuron, made when first needed."""
        pointer = pointer_dtype(self.n_connections)
        indptr = np.empty(self.shape[1] + 1, pointer)
        outs = np.empty(self.n_connections, INDEX)
        position = np.empty(self.n_connections, pointer)
        connectivity.transpose(self.indptr, self.indices, indptr, outs, position)
        return TransposedIndex(indptr, outs, position, balanced_bounds(indptr, BLOCKS))

    def forget_transposed(self) -> None:
        """Give the memory of :attr:`transposed` back; it is made again if it is needed again."""
        self.__dict__.pop("transposed", None)

    def __getstate__(self) -> dict[str, object]:
        """What is pickled: the connections, without what can be made from them."""
        return {"shape": self.shape, "indptr": self.indptr, "indices": self.indices, "groups": self.groups}

    def fan_in(self) -> PointerArray:
        """int32[n_out]: number of incoming connections of each neuron."""
        return np.diff(self.indptr)

    def fan_out(self, counted: BoolArray | None = None) -> Int64Array:
        """int64[n_in]: number of outgoing connections of each neuron; ``counted`` bool[nnz] may say of which."""
        ins = self.indices if counted is None else self.indices[counted]
        return np.bincount(ins, minlength=self.shape[1])

    def keys(self) -> Int64Array:
        """int64[nnz], increasing: ``out * n_in + in`` of every connection."""
        rows = self.outs()
        rows *= self.shape[1]
        rows += self.indices
        return rows

    def outs(self) -> Int64Array:
        """int64[nnz]: the output neuron of every connection."""
        return np.repeat(np.arange(self.shape[0], dtype=OFFSET), self.fan_in())

    def matrix(self, values: AnyArray) -> scipy.sparse.csr_array:
        """``values`` [nnz] as a SciPy matrix (n_out, n_in) that shares their memory."""
        return scipy.sparse.csr_array((values, self.indices, self.indptr), shape=self.shape)

    def replaced(self, is_kept: BoolArray, grown: Int64Array) -> TopologyChange:
        """The change that keeps the marked connections, bool[nnz], and grows others.

        ``grown`` are their keys, int64[n], increasing; none is that of a kept connection.
        """
        n_connections = int(np.count_nonzero(is_kept)) + grown.size
        indptr = np.empty_like(self.indptr)
        indices, old_position = np.empty(n_connections, INDEX), np.empty(n_connections, OFFSET)
        connectivity.merge_rows(*self.rows, is_kept, self.shape[1], grown, indptr, indices, old_position)
        return TopologyChange(Topology(self.shape, indptr, indices, self.groups), old_position)

    def free_keys(self, is_kept: BoolArray, ranks: Int64Array) -> Int64Array:
        """int64[n], increasing: keys of the free positions number ``ranks``, increasing.

        Free is every position without a connection that ``is_kept`` marks.
        """
        keys = np.empty(ranks.size, OFFSET)
        connectivity.free_keys(*self.rows, is_kept, self.shape[1], ranks, keys)
        return keys

    def row_contents(self) -> list[bytes]:
        """The input neurons of each output neuron, to be compared."""
        starts = self.indptr.tolist()
        return [self.indices[starts[i] : starts[i + 1]].tobytes() for i in range(self.shape[0])]

    def bare(self) -> Topology:
        """The same without what has been made from it meanwhile, such as the transposed index."""
        return Topology(self.shape, self.indptr, self.indices, self.groups)

    def spread(self, shape: tuple[int, int], ids_out: Int32Array | None, ids_in: Int32Array | None) -> Topology:
        """The topology of a larger layer, whose neurons ``ids_out`` and ``ids_in``, increasing, have these connections.

        None stands for all neurons.
        """
        indptr = np.zeros(shape[0] + 1, OFFSET)
        indptr[1:][slice(None) if ids_out is None else ids_out] = self.fan_in()
        np.cumsum(indptr, out=indptr)
        return Topology(shape, indptr, self.indices if ids_in is None else ids_in[self.indices])

    def select(self, positions: Int64Array) -> Topology:
        """The topology with the connections at ``positions`` int64[n], increasing, alone."""
        return Topology.from_keys(self.shape, np.ascontiguousarray(self.keys()[positions]))

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Topology:
        """The topology without connections."""
        return cls(shape, np.zeros(shape[0] + 1, OFFSET), np.empty(0, INDEX))

    @classmethod
    def from_keys(cls, shape: tuple[int, int], keys: Int64Array, groups: InputGroups | None = None) -> Topology:
        """The topology with exactly these connections; ``keys`` int64[nnz], increasing."""
        rows, columns = np.divmod(keys, shape[1])
        indptr = np.searchsorted(rows, np.arange(shape[0] + 1)).astype(OFFSET)
        return cls(shape, indptr, columns.astype(INDEX), groups)

    @classmethod
    def from_matrix(cls, matrix: scipy.sparse.csr_array) -> Topology:
        """The topology of a SciPy matrix (n_out, n_in) in canonical form: sorted, without duplicates."""
        shape = (int(matrix.shape[0]), int(matrix.shape[1]))
        return cls(shape, matrix.indptr.astype(OFFSET), matrix.indices.astype(INDEX))

    @classmethod
    def random(cls, shape: tuple[int, int], density: float, key: np.uint64, *, first_row: int = 0) -> Topology:
        """Erdos-Renyi: each possible connection exists independently with probability ``density``.

        Time and memory grow with the number of connections only. The result depends on ``key`` and the
        arguments alone, not on threads or ranks (Mocanu et al. 2018; gaps drawn as by Batagelj, Brandes 2005).
        ``first_row`` is the number of the first row among all neurons of the layer.
        """
        n_out, n_in = shape
        log_absent = math.log1p(-density) if density < 1 else -math.inf
        indptr = np.zeros(n_out + 1, OFFSET)
        if density <= 0:
            return cls(shape, indptr, np.empty(0, INDEX))
        blocks = even_bounds(n_out, BLOCKS)
        connectivity.count_random_rows(first_row, n_in, log_absent, key, blocks, indptr[1:])
        np.cumsum(indptr, out=indptr)
        indices = np.empty(int(indptr[-1]), INDEX)
        connectivity.fill_random_rows(first_row, log_absent, key, blocks, indptr, indices)
        return cls(shape, indptr, indices)

    def check(self) -> None:
        """Assert the invariants: sizes, increasing row starts, sorted and distinct columns in range."""
        n_out, n_in = self.shape
        assert self.indptr.dtype == pointer_dtype(self.n_connections), self.indptr.dtype
        assert self.indices.dtype == INDEX, self.indices.dtype
        assert self.indptr.shape == (n_out + 1,), (self.indptr.shape, n_out)
        assert self.indptr[0] == 0, self.indptr[0]
        assert self.indptr[-1] == self.n_connections, (self.indptr[-1], self.n_connections)
        assert (np.diff(self.indptr) >= 0).all(), "row starts decrease"
        wrong = connectivity.first_disorder(self.indptr, self.indices, n_in)
        assert wrong < 0, f"connection {wrong}: column {self.indices[wrong]} of {n_in} out of order or range"


@dataclass(frozen=True)
class TopologyChange:
    """A new topology, and where each of its connections was before: the one map over a change.

    Attributes
    ----------
    topology : Topology
        The new one.
    old_position : int64[nnz of the new one]
        Position of the connection in the old topology; -1 if it has grown.
    old_neuron : int64[n_out of the new one] or None
        Number of each output neuron in the old topology, increasing; None if they are all the old ones.
    """

    topology: Topology
    old_position: Int64Array
    old_neuron: Int64Array | None = None

    @property
    def n_grown(self) -> int:
        """Connections of the new topology that the old one did not have."""
        return int(np.count_nonzero(self.old_position < 0))

    def carry(self, values: AnyArray, n_each: int = 1) -> AnyArray:
        """Values of the old connections brought to the new ones, 0 for the grown: weights, momentum, late gradients.

        ``n_each`` is the number of values of a connection.
        """
        carried = np.empty(self.old_position.size * n_each, values.dtype)
        if n_each == 1:
            connectivity.carry_over(values, self.old_position, values.dtype.type(0), carried)
        else:
            connectivity.carry_rows(values.reshape(-1, n_each), self.old_position, carried.reshape(-1, n_each))
        return carried

    def carry_neurons(self, values: AnyArray) -> AnyArray:
        """Values of the old output neurons brought to the new ones: biases, their momentum, their late gradients."""
        return values if self.old_neuron is None else values[self.old_neuron]

    def then(self, later: TopologyChange) -> TopologyChange:
        """Both changes in one: from this one's old topology to the ``later`` one's new topology.

        A connection that this change drops and the later one grows again counts as grown.
        """
        position = np.empty(later.old_position.size, OFFSET)
        connectivity.carry_over(self.old_position, later.old_position, OFFSET(-1), position)
        if self.old_neuron is None or later.old_neuron is None:
            neuron = self.old_neuron if later.old_neuron is None else later.old_neuron
        else:
            neuron = self.old_neuron[later.old_neuron]
        return TopologyChange(later.topology, position, neuron)


def erdos_renyi_density(epsilon: float, n_in: int, n_out: int) -> float:
    """SET's density of a layer, min(1, epsilon (n_in + n_out) / (n_in n_out)) (Mocanu et al. 2018)."""
    return min(1.0, epsilon * (n_in + n_out) / (n_in * n_out))


def full_epsilon(n_in: int, n_out: int) -> float:
    """The epsilon from which on :func:`erdos_renyi_density` is 1."""
    return n_in * n_out / (n_in + n_out)
