"""Numbers that describe a graph: nodes, edges, degrees, and how often neighbours are of one class."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import INDEX, Int32Array
from hpc_sparse.importers.graphs.adjacency import AdjacencyRows
from hpc_sparse.kernels.graphs.adjacency import count_equal
from hpc_sparse.parallel.collectives import all_reduce_sum, gather_objects
from hpc_sparse.parallel.context import ParallelContext


def graph_statistics(
    ctx: ParallelContext, rows: AdjacencyRows, labels: Int32Array, *, is_directed: bool
) -> dict[str, int | float | str]:
    """Counts over all ranks (collective).

    ``homophily`` is the share of the edges between labelled nodes whose ends are of one class; edges from a node to
    itself do not count. It is left out where there are none.
    """
    degrees = np.diff(rows.indptr)
    own = (rows.n_entries, rows.n_loops(), *count_equal(rows.indptr, rows.indices, rows.start, labels))
    n_entries, n_loops, n_labelled, n_equal = np.sum(gather_objects(ctx, own), axis=0).tolist()
    named = np.zeros(rows.n_nodes, INDEX)
    named[rows.indices] = 1
    named[rows.start : rows.start + rows.n_rows] += degrees > 0
    all_reduce_sum(ctx, named)
    largest = max(gather_objects(ctx, int(degrees.max(initial=0))))
    found: dict[str, int | float | str] = {
        "nodes": rows.n_nodes,
        "edges": n_entries if is_directed else (n_entries + n_loops) // 2,
        "is_directed": int(is_directed),
        "is_weighted": int(any(gather_objects(ctx, rows.weights.size > 0))),
        "edges_to_itself": n_loops,
        "isolated_nodes": int(np.count_nonzero(named == 0)),
        "mean_degree": n_entries / rows.n_nodes,
        "largest_degree": largest,
    }
    return found | ({"homophily": n_equal / n_labelled} if n_labelled else {})
