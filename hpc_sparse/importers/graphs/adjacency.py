"""The rows of a graph's adjacency matrix that one rank owns, and the transition matrix that diffuses features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, Float64Array, Int32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.importers.graphs.source import Edges, check_edges
from hpc_sparse.kernels.graphs import adjacency as kernels
from hpc_sparse.parallel.collectives import all_reduce_sum, collective_errors, gather_objects
from hpc_sparse.parallel.context import ParallelContext

NO_WEIGHTS: Float64Array = np.empty(0, np.float64)

BITS_OF_SUM = 62
"""Sums of weights are made in integers of so many bits, so that neither their order nor the ranks matter."""


@dataclass
class AdjacencyRows:
    """Rows of an adjacency matrix A.

    Attributes
    ----------
    bounds : int64[n_ranks + 1]
        Rank r has the rows ``bounds[r]:bounds[r + 1]``.
    start : int
        The first row here.
    n_nodes : int
    indptr : int64[n_rows + 1]
    indices : int32[nnz]
        Increasing within a row.
    weights : float64[nnz]
        Positive; empty where all are 1.
    """

    bounds: Int64Array
    start: int
    n_nodes: int
    indptr: Int64Array
    indices: Int32Array
    weights: Float64Array

    @property
    def n_rows(self) -> int:
        """Rows here."""
        return self.indptr.size - 1

    @property
    def n_entries(self) -> int:
        """Entries here."""
        return int(self.indptr[-1])

    def n_loops(self) -> int:
        """Entries (i, i) here."""
        rows = np.repeat(np.arange(self.start, self.start + self.n_rows, dtype=INDEX), np.diff(self.indptr))
        return int(np.count_nonzero(rows == self.indices))


def read_rows(
    ctx: ParallelContext,
    where: str,
    n_nodes: int,
    bounds: Int64Array,
    edges: Callable[[], Iterator[Edges]],
    *,
    is_directed: bool,
    keeps_loops: bool,
) -> AdjacencyRows:
    """The rows of this rank, from edges that all ranks read twice (collective).

    An edge that is listed several times counts once.

    Raises
    ------
    DataError
        On every rank: an edge is wrong, is listed with two weights, or there is none.
    """
    start, stop = (int(bound) for bound in bounds[ctx.rank : ctx.rank + 2])
    with collective_errors(ctx, f"reading the edges of {where}"):
        rows = _placed(where, n_nodes, bounds, start, stop, edges, not is_directed)
        kernels.sort_rows(rows.indptr, rows.indices, rows.weights)
        wrong = kernels.unite_entries(rows.indptr, rows.indices, rows.weights)
        if wrong >= 0:
            raise DataError(f"{where}: an edge of node {start + wrong} is listed with two weights: expected one")
        if not keeps_loops:
            kernels.drop_diagonal(rows.indptr, rows.indices, rows.weights, start)
        rows = _shrunk(rows)
    if not sum(gather_objects(ctx, rows.n_entries)):
        raise DataError(f"{where}: has no edges")
    return rows


def _placed(
    where: str,
    n_nodes: int,
    bounds: Int64Array,
    start: int,
    stop: int,
    edges: Callable[[], Iterator[Edges]],
    is_mirrored: bool,
) -> AdjacencyRows:
    """Entries in their rows, in the order of the edges."""
    counts, is_weighted = np.zeros(stop - start, OFFSET), False
    for chunk in edges():
        outside = kernels.first_outside(chunk.sources, chunk.targets, n_nodes)
        check_edges(where, chunk, n_nodes, outside)
        kernels.count_entries(chunk.sources, chunk.targets, start, stop, is_mirrored, counts)
        is_weighted = is_weighted or chunk.weights.size > 0
    indptr = np.zeros(counts.size + 1, OFFSET)
    np.cumsum(counts, out=indptr[1:])
    indices = np.empty(int(indptr[-1]), INDEX)
    weights = np.empty(indices.size, np.float64) if is_weighted else NO_WEIGHTS.copy()
    place = indptr[:-1].copy()
    for chunk in edges():
        ends = (chunk.sources, chunk.targets, chunk.weights)
        kernels.place_entries(*ends, start, stop, is_mirrored, place, indices, weights)
    return AdjacencyRows(bounds, start, n_nodes, indptr, indices, weights)


def _shrunk(rows: AdjacencyRows) -> AdjacencyRows:
    """The same rows without room for what has gone."""
    n, is_weighted = rows.n_entries, rows.weights.size > 0
    if rows.indices.size == n:
        return rows
    weights = rows.weights[:n].copy() if is_weighted else rows.weights
    return replace(rows, indices=rows.indices[:n].copy(), weights=weights)


def column_sums(ctx: ParallelContext, rows: AdjacencyRows) -> Float64Array:
    """d, the sum of the weights of each column, float64[n_nodes], to the same bits on any number of ranks (collective).

    Where there are no weights, it is the number of entries.
    """
    if all(gather_objects(ctx, rows.weights.size == 0)):
        counts = np.bincount(rows.indices, minlength=rows.n_nodes).astype(OFFSET, copy=False)
        all_reduce_sum(ctx, counts)
        return counts.astype(np.float64)
    largest = max(gather_objects(ctx, float(rows.weights.max(initial=0.0))))
    exponent = BITS_OF_SUM - int(np.frexp(largest)[1]) - rows.n_nodes.bit_length()
    sums = np.zeros(rows.n_nodes, OFFSET)
    np.add.at(sums, rows.indices, np.rint(np.ldexp(rows.weights, exponent)).astype(OFFSET))
    all_reduce_sum(ctx, sums)
    return np.ldexp(sums.astype(np.float64), -exponent)


def transition_rows(
    rows: AdjacencyRows, degrees: Float64Array, threshold: float, dtype: type[np.float32 | np.float64] = VALUE
) -> scipy.sparse.csr_array:
    """The rows of P = A / (d + 1) without entries at or below a threshold.

    Parameters
    ----------
    rows : AdjacencyRows
        Overwritten: its memory is that of the result.
    degrees : float64[n_nodes]
        d, the column sums.
    threshold : float
    dtype : float32 or float64
        Type of the values.
    """
    n = kernels.keep_above(rows.indptr, rows.indices, rows.weights, degrees, threshold)
    if n < rows.indices.size:
        rows.indices = rows.indices[:n].copy()
        rows.weights = rows.weights[:n].copy() if rows.weights.size else rows.weights
    values = np.empty(n, dtype)
    kernels.transition_values(rows.indices, rows.weights, degrees, values)
    return scipy.sparse.csr_array((values, rows.indices, rows.indptr), shape=(rows.n_rows, rows.n_nodes))
