"""Protocol of a source of a graph, and what every source is checked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float64Array, Int32Array
from hpc_sparse.errors import DataError
from hpc_sparse.storage.dataset.samples import Features

EDGES_AT_A_TIME = 1 << 15
"""Edges that a source reads together, roughly."""

UNLABELLED = -1
"""Label of a node whose class is not known: its features spread, but it is no sample."""


class Edges(NamedTuple):
    """Some edges of a graph.

    Attributes
    ----------
    sources, targets : int32 or int64[n]
        Numbers of nodes, from 0; not checked.
    weights : float64[n]
        Empty where all are 1; not checked.
    first : int
        Number of the first one in the source.
    """

    sources: AnyArray
    targets: AnyArray
    weights: Float64Array
    first: int


@dataclass(frozen=True)
class GraphSize:
    """What a source says of itself before it is read.

    Attributes
    ----------
    n_nodes : int
    n_edges : int
        Edges that are listed.
    n_features : int
    n_stored : int
        Values of the features that are stored; all of them if they are dense.
    is_sparse : bool
        Whether features are sparse.
    is_weighted : bool
    """

    n_nodes: int
    n_edges: int
    n_features: int
    n_stored: int
    is_sparse: bool
    is_weighted: bool


class GraphSource(Protocol):
    """A graph in files that every rank can read.

    Attributes
    ----------
    where : str
        File, to begin messages with.
    size : GraphSize
    """

    where: str
    size: GraphSize

    def edges(self) -> Iterator[Edges]:
        """All edges, some at a time; the same each time."""
        ...

    def features(self, start: int, stop: int) -> Features:
        """Features of the nodes ``start:stop``."""
        ...

    def labels(self) -> tuple[Int32Array, tuple[str, ...]]:
        """Class of each sample int32, :data:`UNLABELLED` where it is not known, and the names of the classes.

        Samples are the nodes, or the graphs of :meth:`membership`.
        """
        ...

    def membership(self) -> Int32Array | None:
        """Number of each node's graph int32[n_nodes], where a source has many graphs that are classified; else None."""
        ...

    def parts(self) -> Mapping[str, AnyArray]:
        """The samples of the published parts "train", "validation" and "test" by number; {} if nothing is published."""
        ...

    def description(self) -> str:
        """Names of the files."""
        ...


def check_edges(where: str, edges: Edges, n_nodes: int, first_outside: int) -> None:
    """Refuse edges that are wrong.

    Parameters
    ----------
    where : str
    edges : Edges
    n_nodes : int
    first_outside : int
        Position of the first edge with an end that is no node, or -1.

    Raises
    ------
    DataError
        An end is no node, or a weight is negative or not finite.
    """
    if first_outside >= 0:
        source, target = int(edges.sources[first_outside]), int(edges.targets[first_outside])
        wrong = source if not 0 <= source < n_nodes else target
        raise DataError(
            f"{where}: edge {edges.first + first_outside}: ({source}, {target}): there is no node {wrong}: "
            f"must be >= 0 and < {n_nodes}, the number of nodes"
        )
    is_wrong = ~(edges.weights >= 0) | np.isinf(edges.weights)
    if is_wrong.any():
        position = int(np.argmax(is_wrong))
        raise DataError(
            f"{where}: edge {edges.first + position}: weight {edges.weights[position]:g}: must be >= 0 and finite"
        )
