"""Groups of inputs of which each neuron is connected to a fixed number: what a topology may change into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import OFFSET, BoolArray, Float32Array, Int32Array, Int64Array, PointerArray
from hpc_sparse.kernels.patterns import growth
from hpc_sparse.network.connections.group_pattern import GroupPattern


@dataclass(frozen=True)
class InputGroups:
    """Groups of inputs by a pattern N:M; connections come and go within a group, whose number of them stays.

    Groups have numbers, ``out * n_groups + group`` of the neuron.

    Attributes
    ----------
    pattern : GroupPattern
    n_in : int
    """

    pattern: GroupPattern
    n_in: int

    @property
    def n_of_row(self) -> int:
        """Groups of one neuron."""
        return self.pattern.n_groups(self.n_in)

    def numbers(self, keys: Int64Array) -> Int64Array:
        """int64[n]: the group of each of the ``keys``."""
        rows, columns = np.divmod(keys, self.n_in)
        rows *= self.n_of_row
        rows += columns // self.pattern.m
        return rows

    def sizes(self, groups: Int64Array) -> Int64Array:
        """int64[n]: connections that each of the groups has."""
        is_last = groups % self.n_of_row == self.n_of_row - 1
        return np.where(is_last, self.pattern.last_count(self.n_in), self.pattern.n).astype(OFFSET)

    def draw(self, rows: tuple[PointerArray, Int32Array], is_kept: BoolArray, key: np.uint64) -> Int64Array:
        """Keys at random without a kept connection, in each group as many as it lacks; int64[n], increasing.

        Parameters
        ----------
        rows : tuple of arrays
            Of a topology.
        is_kept : bool[nnz]
        key : uint64
            Stream of this occasion.
        """
        keys = np.empty(is_kept.size - np.count_nonzero(is_kept), OFFSET)
        n_drawn = growth.draw_in_groups(*rows, is_kept, *self._sizes, key, keys)
        assert n_drawn == keys.size, (n_drawn, keys.size)
        return keys

    def add_best(
        self,
        rows: tuple[PointerArray, Int32Array],
        is_kept: BoolArray,
        scores: Float32Array,
        first_row: int,
        at: int,
        keys: Int64Array,
    ) -> int:
        """Add the keys of largest |score| of some rows: :func:`hpc_sparse.kernels.patterns.growth.best_in_groups`."""
        found: int = growth.best_in_groups(*rows, is_kept, *self._sizes, scores, first_row, at, keys)
        return found

    @property
    def _sizes(self) -> tuple[int, int, int, int]:
        return self.pattern.n, self.pattern.m, self.n_in, self.pattern.last_count(self.n_in)

    def keep_largest(self, keys: Int64Array, scores: Float32Array) -> BoolArray:
        """Mark the connections that stay when each group is cut back to its number, those of largest |score|.

        Parameters
        ----------
        keys : int64[n], increasing
        scores : float32[n]
            Among equal ones, the first stay.

        Returns
        -------
        bool[n]
        """
        groups = self.numbers(keys)
        return self.keep_best(groups, scores, self.sizes(groups))

    @staticmethod
    def keep_best(groups: Int64Array, scores: Float32Array, n_kept: Int64Array) -> BoolArray:
        """Mark the members of largest |score| of each group.

        Parameters
        ----------
        groups : int64[n], not decreasing
        scores : float32[n]
            Among equal ones, the first stay.
        n_kept : int64[n]
            How many stay of each member's group.

        Returns
        -------
        bool[n]
        """
        order = np.lexsort((-np.abs(scores), groups))  # stable
        rank = np.empty(groups.size, OFFSET)
        rank[order] = np.arange(groups.size, dtype=OFFSET) - np.searchsorted(groups, groups[order])
        return np.asarray(rank < n_kept)
