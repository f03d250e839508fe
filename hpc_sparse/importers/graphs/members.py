"""Graphs that are classified as wholes: their features are the means over their nodes.

The mean activation over nodes is how diffusion-convolutional networks classify graphs (Atwood and Towsley 2016, arXiv
1511.02136, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from hpc_sparse.dtypes import OFFSET, VALUE, AnyArray, Int32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.importers.graphs.adjacency import AdjacencyRows
from hpc_sparse.kernels.graphs.adjacency import count_equal
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features


@dataclass(frozen=True)
class Members:
    """Nodes of many graphs.

    Attributes
    ----------
    graph_of : int32[n_nodes]
        Number of each node's graph.
    order : int64[n_nodes]
        The nodes of graph after graph, increasing within each.
    starts : int64[n_graphs + 1]
        Where the nodes of each graph begin in ``order``.
    """

    graph_of: Int32Array
    order: Int64Array
    starts: Int64Array

    @classmethod
    def of(cls, where: str, graph_of: Int32Array, n_graphs: int) -> Members:
        """The nodes of as many graphs as there are labels.

        Raises
        ------
        DataError
            A node is of no such graph, or a graph has no nodes.
        """
        outside = (graph_of < 0) | (graph_of >= n_graphs)
        if outside.any():
            node = int(np.argmax(outside))
            raise DataError(
                f"{where}: node {node} is of graph {graph_of[node]}: must be >= 0 and < {n_graphs}, one of the labels"
            )
        sizes = np.bincount(graph_of, minlength=n_graphs)
        if not sizes.all():
            raise DataError(f"{where}: graph {int(np.argmin(sizes))} has no nodes: expected at least one")
        starts = np.concatenate([np.zeros(1, OFFSET), np.cumsum(sizes, dtype=OFFSET)])
        return cls(graph_of, np.argsort(graph_of, kind="stable").astype(OFFSET), starts)

    @property
    def n_graphs(self) -> int:
        """Graphs."""
        return self.starts.size - 1

    def nodes(self, graphs: Int64Array) -> Int64Array:
        """The nodes of some graphs, one graph's after the other's."""
        parts = [self.order[self.starts[graph] : self.starts[graph + 1]] for graph in graphs.tolist()]
        return np.concatenate(parts) if parts else np.empty(0, OFFSET)

    def sums(self, of_nodes: AnyArray) -> Int64Array:
        """int64[n_graphs]: sums over the nodes of each graph."""
        found: Int64Array = np.add.reduceat(of_nodes[self.order].astype(OFFSET), self.starts[:-1])
        return found

    def means(self, rows: Features, graphs: Int64Array) -> DenseFeatures:
        """Mean features of some graphs, from the rows of all their :meth:`nodes`; summed in float64."""
        sizes = self.starts[graphs + 1] - self.starts[graphs]
        bounds = np.concatenate([np.zeros(1, OFFSET), np.cumsum(sizes, dtype=OFFSET)])
        shape = (graphs.size, rows.n_samples)
        shares = scipy.sparse.csr_array((np.ones(rows.n_samples), np.arange(rows.n_samples), bounds), shape=shape)
        if isinstance(rows, CsrFeatures):
            table = scipy.sparse.csr_array(
                (rows.values.astype(np.float64), rows.indices, rows.indptr), shape=(rows.n_samples, rows.n_features)
            )
            total = (shares @ table).toarray()
        else:
            total = shares @ rows.values.astype(np.float64)
        return DenseFeatures((total / sizes[:, None]).astype(VALUE))


def check_members(ctx: ParallelContext, where: str, rows: AdjacencyRows, members: Members) -> None:
    """Refuse (DataError) edges between different graphs (collective)."""
    n_entries, n_within = count_equal(rows.indptr, rows.indices, rows.start, members.graph_of)
    n_across = sum(gather_objects(ctx, n_entries - n_within))
    if n_across:
        raise DataError(f"{where}: {n_across} entries of the adjacency matrix join different graphs: expected none")
