"""Index of connections in groups of inputs: one byte per connection, no row pointers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from hpc_sparse.dtypes import (
    INDEX,
    OFFSET,
    Int32Array,
    Int64Array,
    PointerArray,
    UInt8Array,
    UInt16Array,
    pointer_dtype,
)
from hpc_sparse.kernels.patterns import structure, transposable
from hpc_sparse.kernels.patterns.expansion import GROUP, OVERRUN
from hpc_sparse.network.connections.group_pattern import GroupPattern
from hpc_sparse.network.connections.groups import InputGroups
from hpc_sparse.network.connections.topology import BLOCKS, Topology
from hpc_sparse.partition import balanced_bounds, even_bounds


class GroupedColumns(NamedTuple):
    """The connections grouped by input neuron, as kernels take them one after the other.

    Attributes
    ----------
    outs, slots : uint8[nnz]
    counts : uint16[n_in * groups of output neurons]
    starts : int32[n_in + 1], or int64 beyond 2^31 connections
        See :func:`hpc_sparse.kernels.patterns.backward.backward`.
    n, m, fan_in : int
        The pattern, and the connections of an output neuron.
    """

    outs: UInt8Array
    slots: UInt8Array
    counts: UInt16Array
    starts: PointerArray
    n: int
    m: int
    fan_in: int


@dataclass(frozen=True)
class GroupedIndex:
    """Connections in groups of inputs. Never mutated, only replaced.

    Attributes
    ----------
    shape : (n_out, n_in)
    pattern : GroupPattern
    position : uint8[n_out * fan_in]
        Number of each connection's input within its group, increasing there; row by row.
    """

    shape: tuple[int, int]
    pattern: GroupPattern
    position: UInt8Array

    @classmethod
    def random(cls, shape: tuple[int, int], pattern: GroupPattern, key: np.uint64) -> GroupedIndex:
        """Every choice within each group with equal probability; time and memory grow with the connections only.

        Of transposable patterns, every pair of places in a group alike; see
        :func:`hpc_sparse.kernels.patterns.transposable.draw_transposable`.
        """
        n_out, n_in = shape
        position = np.empty(n_out * pattern.fan_in(n_in), np.uint8)
        if pattern.is_transposable:
            pattern.check_last_group(n_in)
            transposable.draw_transposable(pattern.n, pattern.m, n_in, key, position)
            return cls(shape, pattern, position)
        structure.draw_positions(pattern.n, pattern.m, n_in, key, even_bounds(n_out, BLOCKS), position)
        return cls(shape, pattern, position)

    @classmethod
    def of(cls, topology: Topology, pattern: GroupPattern) -> GroupedIndex | None:
        """The same connections; None if a group has more or fewer than the pattern says, or an input more."""
        n_out, n_in = topology.shape
        position = np.empty(n_out * pattern.fan_in(n_in), np.uint8)
        sizes = (pattern.n, pattern.m, pattern.fan_in(n_in))
        fits = structure.take_over(topology.indptr, topology.indices, *sizes, position)
        found = cls(topology.shape, pattern, position)
        return found if fits and found.first_overfull() < 0 else None

    def first_overfull(self) -> int:
        """The first connection by which an input has too many where the pattern is transposable; -1 if there is none.

        Positions are within their groups.
        """
        if not self.pattern.is_transposable:
            return -1
        return int(transposable.first_overfull(self.position, self.pattern.n, self.pattern.m, self.shape[1]))

    @property
    def fan_in(self) -> int:
        """Connections of each output neuron."""
        return self.pattern.fan_in(self.shape[1])

    @cached_property
    def base(self) -> Int32Array:
        """int32[fan_in]: first input of the group of each connection of a row."""
        return (np.arange(self.fan_in) // self.pattern.n * self.pattern.m).astype(INDEX)

    @cached_property
    def bounds(self) -> Int64Array:
        """int64[BLOCKS + 1]: blocks of rows."""
        return even_bounds(self.shape[0], BLOCKS)

    @cached_property
    def columns(self) -> GroupedColumns:
        """The same connections grouped by input neuron, made when first needed."""
        (n_out, n_in), n = self.shape, self.position.size
        starts = np.empty(n_in + 1, pointer_dtype(n))
        counts = np.empty(n_in * n_out_groups(n_out), np.uint16)
        outs, slots = (np.zeros(n + OVERRUN, np.uint8)[:n] for _ in range(2))
        structure.transpose(self.position, self.base, self.pattern.n, starts, counts, outs, slots)
        return GroupedColumns(outs, slots, counts, starts, self.pattern.n, self.pattern.m, self.fan_in)

    @cached_property
    def column_bounds(self) -> Int64Array:
        """int64[BLOCKS + 1]: blocks of input neurons with about equally many connections."""
        return balanced_bounds(self.columns.starts, BLOCKS)

    def forget_columns(self) -> None:
        """Give the memory of :attr:`columns` back; they are made again if they are needed again."""
        for name in ("columns", "column_bounds"):
            self.__dict__.pop(name, None)

    def __getstate__(self) -> dict[str, object]:
        """What is pickled: the connections, without what can be made from them."""
        return {"shape": self.shape, "pattern": self.pattern, "position": self.position}

    def topology(self) -> Topology:
        """The same connections in compressed rows, made anew."""
        n_out, fan_in = self.shape[0], self.fan_in
        indptr = np.arange(n_out + 1, dtype=OFFSET) * fan_in
        indices = (self.position.reshape(n_out, fan_in) + self.base).reshape(-1)
        return Topology(self.shape, indptr, indices, InputGroups(self.pattern, self.shape[1]))


def n_out_groups(n_out: int) -> int:
    """Groups of output neurons in which a byte numbers them."""
    return -(-n_out // GROUP)
