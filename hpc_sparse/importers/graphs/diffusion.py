"""Diffusion of features: products of a transition matrix with the features of hop after hop, by ranges of nodes.

No power of the matrix exists as a whole. Of hop h, memory has the features alone. Where a threshold is on powers
("post") or follows each hop ("each"), rows of powers are made for a range of nodes at a time. A range asks the other
ranks for the rows that it names. Each output row is summed in the order of the nodes, in float64: no bit depends on
the ranges or the ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Int64Array
from hpc_sparse.errors import DataError, ParameterError
from hpc_sparse.importers.graphs.adjacency import AdjacencyRows, column_sums, transition_rows
from hpc_sparse.importers.graphs.options import Cut, Diffusion
from hpc_sparse.importers.options import Report, report_nothing
from hpc_sparse.parallel.collectives import all_reduce_sum, collective_errors, gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.row_exchange import Matrix, fetch_rows

RANGE_BYTES = 2 * 1024 * 1024
"""Memory of a range of nodes, roughly."""

POWER_BYTES = 64 * 1024 * 1024
"""The same where rows of powers are made, of which each may become full."""

ENTRY_BYTES = 24
"""Of an entry of a sparse row in float64, and of what sorts it."""


@dataclass(frozen=True)
class Diffused:
    """Features of hops 0, 1, ... of this rank's nodes, and what was kept of the matrix.

    Attributes
    ----------
    hops : list of matrix
        float32[n_nodes, n_features] each, dense or sparse.
    n_before, n_kept : list of int
        Entries of each power over all ranks, before and after the threshold.
    n_silent : int
        Nodes of which no entry is left in P, though they had some: their features go nowhere.
    """

    hops: list[Matrix]
    n_before: list[int]
    n_kept: list[int]
    n_silent: int


def diffuse(
    adjacency: Any,
    X: Any,
    hops: int = 2,
    threshold: float = 0.0,
    *,
    cut: Cut = "pre",
    unit_length: bool = False,
) -> AnyArray | scipy.sparse.csr_array:
    """Features of the nodes of a graph and of what reaches them over its edges, hop after hop.

    Parameters
    ----------
    adjacency : sparse matrix or array [n, n]
        A[i, j] > 0 where node i gets something from node j; taken as it is, so symmetric for an undirected graph.
        networkx's ``to_scipy_sparse_array`` and the graphs of scikit-network are such matrices.
    X : sparse matrix or array [n, n_features]
    hops : int
        How far features go, at least 1.
    threshold : float
        Entries at or below it go, from 0 to below 1.
    cut : "pre", "post" or "each"
        Which entries: those of P = A / (d + 1), those of each power of P, or those after each hop.
    unit_length : bool
        Whether the features of each hop of a node are brought to Euclidean length 1.

    Returns
    -------
    float32[n, (hops + 1) n_features]
        X, P X, P^2 X, ... side by side; a CSR array if X is sparse.

    Raises
    ------
    ParameterError
        An argument is wrong; it is a ValueError, too.
    """
    ctx, diffusion = ParallelContext.serial(threads=1), Diffusion(hops, threshold, cut, unit_length)
    rows, features = _rows_of(adjacency), _features_of(X)
    if features.shape[0] != rows.n_nodes:
        raise ParameterError(f"X: {features.shape[0]} rows: expected {rows.n_nodes}, one per node of the adjacency")
    found: list[Any] = diffuse_rows(ctx, rows, features, diffusion).hops
    found = [of_unit_length(hop) for hop in found] if unit_length else found
    return scipy.sparse.hstack(found, format="csr") if scipy.sparse.issparse(features) else np.hstack(found)


def of_unit_length(rows: Matrix) -> Matrix:
    """The rows, each divided by its Euclidean length; rows of zeros stay."""
    if isinstance(rows, np.ndarray):
        lengths = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1, keepdims=True))
        return (rows / np.where(lengths > 0, lengths, 1.0)).astype(VALUE)
    number = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    squares = np.square(rows.data, dtype=np.float64)
    lengths = np.sqrt(np.bincount(number, squares, rows.shape[0]))
    values = (rows.data / lengths[number]).astype(VALUE)
    return scipy.sparse.csr_array((values, rows.indices, rows.indptr), shape=rows.shape)


def diffuse_rows(
    ctx: ParallelContext,
    rows: AdjacencyRows,
    features: Matrix,
    diffusion: Diffusion,
    report: Report = report_nothing,
) -> Diffused:
    """Hop after hop of this rank's nodes (collective).

    Parameters
    ----------
    ctx : ParallelContext
    rows : AdjacencyRows
        Overwritten.
    features : matrix float32[n_rows, n_features]
        Of the same nodes; of one kind on all ranks.
    diffusion : Diffusion
    report : callable
        Callback for the progress.
    """
    bounds, n_before = rows.bounds, rows.n_entries
    degrees = column_sums(ctx, rows)
    threshold = 0.0 if diffusion.follows_rows else diffusion.threshold
    with collective_errors(ctx, "making the transition matrix"):
        matrix = transition_rows(rows, degrees, threshold, np.float64 if diffusion.follows_rows else VALUE)
    n_silent = _count_silent(ctx, matrix, degrees)
    del degrees
    if diffusion.follows_rows:
        return _by_rows(ctx, bounds, matrix, features, diffusion, report)
    found: list[Matrix] = [features]
    for hop in range(1, diffusion.hops + 1):
        found.append(_next_hop(ctx, bounds, matrix, found[-1], f"hop {hop}", report))
    kept = sum(gather_objects(ctx, int(matrix.nnz)))
    return Diffused(found, [sum(gather_objects(ctx, n_before))], [kept], n_silent)


def _next_hop(
    ctx: ParallelContext, bounds: Int64Array, matrix: scipy.sparse.csr_array, source: Matrix, doing: str, report: Report
) -> Matrix:
    """P Y by ranges of nodes (collective)."""
    row_bytes = _row_bytes(source)
    ranges = _ranges(matrix.indptr, max(1, RANGE_BYTES // row_bytes))
    n_columns = source.shape[1]
    parts: list[Any] = []
    is_dense = isinstance(source, np.ndarray)
    whole = np.empty((matrix.shape[0], n_columns), VALUE) if is_dense else None
    for start, stop in _together(ctx, ranges):
        own = _row_range(matrix, start, stop)
        named, place = np.unique(own.indices, return_inverse=True)
        rows = fetch_rows(ctx, bounds, source, named.astype(OFFSET))
        with collective_errors(ctx, doing):
            product: Any = _with_columns(own, place, named.size) @ rows.astype(np.float64)
            if whole is not None:
                whole[start:stop] = product
            else:
                parts.append(_as_rows(product, VALUE))
        report(doing, stop, matrix.shape[0])
    return whole if whole is not None else _stacked(parts, n_columns, VALUE)


def _by_rows(
    ctx: ParallelContext,
    bounds: Int64Array,
    matrix: scipy.sparse.csr_array,
    features: Matrix,
    diffusion: Diffusion,
    report: Report,
) -> Diffused:
    """Rows of the powers for a range of nodes at a time; their entries at or below the threshold go (collective)."""
    n_rows, n_nodes = matrix.shape
    per_range = max(1, POWER_BYTES // (ENTRY_BYTES * n_nodes))
    ranges = [(start, min(n_rows, start + per_range)) for start in range(0, n_rows, per_range)]
    pieces: list[list[Any]] = [[] for _ in range(diffusion.hops)]
    counts = np.zeros((diffusion.hops, 2), OFFSET)
    for start, stop in _together(ctx, ranges):
        power = _row_range(matrix, start, stop)
        for hop in range(diffusion.hops):
            if hop:
                named, place = np.unique(power.indices, return_inverse=True)
                rows = fetch_rows(ctx, bounds, matrix, named.astype(OFFSET))
                power = _as_rows(_with_columns(power, place, named.size) @ rows, np.float64)
            kept = _above(power, diffusion.threshold)
            counts[hop] += power.nnz, kept.nnz
            power = kept if diffusion.cut == "each" else power
            named, place = np.unique(kept.indices, return_inverse=True)
            rows = fetch_rows(ctx, bounds, features, named.astype(OFFSET))
            product: Any = _with_columns(kept, place, named.size) @ rows.astype(np.float64)
            is_dense = isinstance(product, np.ndarray)
            pieces[hop].append(product.astype(VALUE) if is_dense else _as_rows(product, VALUE))
        report("powers", stop, n_rows)
    hops = [_stacked(of_hop, features.shape[1], VALUE) for of_hop in pieces]
    total = sum(gather_objects(ctx, counts))
    return Diffused([features, *hops], total[:, 0].tolist(), total[:, 1].tolist(), 0)


def _ranges(indptr: AnyArray, most_entries: int) -> list[tuple[int, int]]:
    """Ranges of rows with about so many entries, each of at least one row."""
    found, start, n_rows = [], 0, indptr.size - 1
    while start < n_rows:
        # Each row counts as an entry, too, so that long runs of empty ones are shared out.
        last = int(np.searchsorted(indptr, indptr[start] + most_entries, side="right")) - 1
        stop = min(max(start + 1, last), start + most_entries, n_rows)
        found.append((start, stop))
        start = stop
    return found


def _together(ctx: ParallelContext, ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges of this rank, then empty ones until all ranks are through theirs (collective)."""
    end = ranges[-1][1] if ranges else 0
    n_most = max(gather_objects(ctx, max(1, len(ranges))))
    yield from ranges
    yield from [(end, end)] * (n_most - len(ranges))


def _row_bytes(matrix: Matrix) -> int:
    """Bytes of a row in float64, on average."""
    if isinstance(matrix, np.ndarray):
        return 8 * max(1, int(matrix.shape[1]))
    return ENTRY_BYTES * max(1, int(matrix.nnz) // max(1, matrix.shape[0]))


def _row_range(matrix: scipy.sparse.csr_array, start: int, stop: int) -> scipy.sparse.csr_array:
    """Rows in float64; without the checks of slices, which read all."""
    first, last = int(matrix.indptr[start]), int(matrix.indptr[stop])
    arrays = (
        matrix.data[first:last].astype(np.float64),
        matrix.indices[first:last],
        matrix.indptr[start : stop + 1] - first,
    )
    return scipy.sparse.csr_array(arrays, shape=(stop - start, matrix.shape[1]))


def _with_columns(matrix: scipy.sparse.csr_array, columns: AnyArray, n_columns: int) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array(
        (matrix.data, columns.astype(INDEX), matrix.indptr), shape=(matrix.shape[0], n_columns)
    )


def _as_rows(matrix: Any, dtype: type[np.float32 | np.float64]) -> scipy.sparse.csr_array:
    """Sparse rows with increasing columns of int32 and without zeros."""
    matrix.sort_indices()
    found = scipy.sparse.csr_array(
        (matrix.data.astype(dtype), matrix.indices.astype(INDEX, copy=False), matrix.indptr.astype(OFFSET)),
        shape=matrix.shape,
    )
    found.eliminate_zeros()  # what is too small for float32
    return found


def _above(matrix: scipy.sparse.csr_array, threshold: float) -> scipy.sparse.csr_array:
    is_kept = matrix.data > threshold
    before = np.concatenate([np.zeros(1, OFFSET), np.cumsum(is_kept, dtype=OFFSET)])
    return scipy.sparse.csr_array(
        (matrix.data[is_kept], matrix.indices[is_kept], before[matrix.indptr]), shape=matrix.shape
    )


def _stacked(parts: list[Any], n_columns: int, dtype: type[np.float32]) -> Matrix:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    # By hand: SciPy chooses the type of the indices anew.
    counts = np.concatenate([np.diff(part.indptr) for part in parts])
    indptr = np.concatenate([np.zeros(1, OFFSET), np.cumsum(counts, dtype=OFFSET)])
    indices = np.concatenate([part.indices for part in parts])
    values = np.concatenate([part.data for part in parts]).astype(dtype, copy=False)
    return scipy.sparse.csr_array((values, indices, indptr), shape=(counts.size, n_columns))


def _count_silent(ctx: ParallelContext, matrix: scipy.sparse.csr_array, degrees: AnyArray) -> int:
    """Nodes with a degree of which no entry is left (collective)."""
    is_left = np.zeros(matrix.shape[1], np.bool_)
    is_left[matrix.indices] = True
    n_ranks_with = is_left.astype(INDEX)
    all_reduce_sum(ctx, n_ranks_with)
    return int(np.count_nonzero((n_ranks_with == 0) & (degrees > 0)))


def _rows_of(adjacency: Any) -> AdjacencyRows:
    """All rows of a matrix that a caller gives."""
    if not scipy.sparse.issparse(adjacency):
        adjacency = np.asarray(adjacency)
        if adjacency.dtype.kind not in "fiub":
            raise ParameterError(f"adjacency: {adjacency.dtype}: expected a matrix of numbers")
    if len(adjacency.shape) != 2 or adjacency.shape[0] != adjacency.shape[1] or not adjacency.shape[0]:
        raise ParameterError(f"adjacency: shape {list(adjacency.shape)}: expected as many rows as columns")
    matrix = scipy.sparse.csr_array(adjacency, dtype=np.float64, copy=True)
    matrix.sum_duplicates()
    wrong = ~(matrix.data >= 0) | np.isinf(matrix.data)
    if wrong.any():
        raise ParameterError(f"adjacency: weight {matrix.data[wrong][0]:g}: must be >= 0 and finite")
    matrix.eliminate_zeros()
    if not matrix.nnz:
        raise ParameterError("adjacency: has no edges")
    n = int(matrix.shape[0])
    bounds = np.array([0, n], OFFSET)
    return AdjacencyRows(bounds, 0, n, matrix.indptr.astype(OFFSET), matrix.indices.astype(INDEX), matrix.data)


def _features_of(X: Any) -> Matrix:
    """Features that a caller gives, as float32."""
    from hpc_sparse.importers.features import csr_features, dense_features  # noqa: PLC0415 - not for the import alone

    is_sparse: bool = scipy.sparse.issparse(X)
    try:
        if is_sparse:
            rows: Any = scipy.sparse.csr_array(X)
            found = csr_features("X", rows.indptr, rows.indices, rows.data, rows.shape)
            return scipy.sparse.csr_array(
                (found.values, found.indices, found.indptr), shape=(rows.shape[0], found.n_features)
            )
        return dense_features("X", np.asarray(X)).values.astype(VALUE)
    except DataError as error:
        raise ParameterError(str(error)) from None
