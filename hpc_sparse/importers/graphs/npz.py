"""Graphs in NumPy archives (.npz), read in part by each rank.

One array of each kind is looked for:

- edges: ``edges`` or ``edge_index`` int[m, 2] or int[2, m], with ``edge_weight`` or ``edge_weights``; or an adjacency
  matrix in compressed sparse rows, ``adj_indptr``, ``adj_indices`` and, unless all are 1, ``adj_data``;
- features: ``x``, ``features`` or ``feat``; or in compressed sparse rows with ``feat_``, ``attr_`` or ``x_`` before
  ``indptr``, ``indices``, ``data`` and ``shape``;
- labels: ``label``, ``labels`` or ``y``, -1 where a class is not known, with names in ``classes`` or ``class_names``;
- many graphs that are classified, instead of nodes: ``graph`` or ``batch`` int[n], the number of each node's graph,
  from 0; there is a label for each graph then;
- published parts, as node numbers or truth values: ``train``, ``val`` or ``validation``, ``test``, each with or without
  ``_mask``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, AnyArray, Int32Array
from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays.archive import CLASS_NAMES, LABEL_NAMES
from hpc_sparse.importers.arrays.npz_stream import StreamedArchive
from hpc_sparse.importers.features import csr_features, dense_features
from hpc_sparse.importers.graphs.source import EDGES_AT_A_TIME, UNLABELLED, Edges, GraphSize
from hpc_sparse.importers.labels import as_text, encode_labels
from hpc_sparse.storage.dataset.samples import Features

EDGE_NAMES = ("edges", "edge_index")
WEIGHT_NAMES = ("edge_weight", "edge_weights")
FEATURE_NAMES = ("x", "features", "feat")
SPARSE_PREFIXES = ("feat_", "attr_", "x_")
GRAPH_NAMES = ("graph", "batch")
PART_NAMES = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
ADJACENCY = "adj_"


class NpzGraph:
    """One archive; a :class:`~hpc_sparse.importers.graphs.source.GraphSource`."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._archive = archive = StreamedArchive(path)
        self._dense, self._prefix = _first(archive, FEATURE_NAMES), _prefix_of(archive)
        if self._dense is None and self._prefix is None:
            raise DataError(
                f"{path}: has no features: expected x, or feat_indptr and so on (it has {_listed(archive)})"
            )
        self._edges, self._weights = _first(archive, EDGE_NAMES), _first(archive, WEIGHT_NAMES)
        if self._edges is None and f"{ADJACENCY}indptr" not in archive:
            raise DataError(
                f"{path}: has no edges: expected edges, or adj_indptr and so on (it has {_listed(archive)})"
            )
        if _first(archive, LABEL_NAMES) is None:
            raise DataError(f"{path}: has no labels: expected label, labels or y (it has {_listed(archive)})")
        self._graphs = _first(archive, GRAPH_NAMES)
        self.size = self._size()

    def edges(self) -> Iterator[Edges]:
        """All edges, some at a time."""
        return self._listed_edges() if self._edges is not None else self._stored_rows()

    def features(self, start: int, stop: int) -> Features:
        """Features of the nodes ``start:stop``."""
        archive, prefix = self._archive, self._prefix
        if self._dense is not None:
            return dense_features(archive.where(self._dense), archive.rows(self._dense, start, stop), first_row=start)
        assert prefix is not None
        indptr = archive.rows(f"{prefix}indptr", start, stop + 1).astype(OFFSET)
        first, last = int(indptr[0]), int(indptr[-1])
        _check_bounds(archive.where(f"{prefix}indptr"), indptr, archive.arrays[f"{prefix}indices"].size)
        data = archive.rows(f"{prefix}data", first, last) if f"{prefix}data" in archive else None
        indices = archive.rows(f"{prefix}indices", first, last)
        shape = (stop - start, self.size.n_features)
        return csr_features(archive.where(f"{prefix}data"), indptr - first, indices, data, shape)

    def labels(self) -> tuple[Int32Array, tuple[str, ...]]:
        """Classes of the nodes, and their names."""
        name = _first(self._archive, LABEL_NAMES)
        assert name is not None
        labels = self._archive.array(name)
        if self._graphs is None and labels.size != self.size.n_nodes:
            raise DataError(f"{self.where}: {labels.size} labels for {self.size.n_nodes} nodes: expected one per node")
        labels = labels.reshape(-1)
        is_known = labels >= 0 if labels.dtype.kind in "if" else np.ones(labels.size, np.bool_)
        found = np.full(labels.size, UNLABELLED, INDEX)
        names_of = _first(self._archive, CLASS_NAMES)
        class_names = None
        if names_of is not None:
            class_names = tuple(as_text(self.where, self._archive.array(names_of)).reshape(-1).tolist())
        (known,), names = encode_labels(self.where, (labels[is_known],), class_names)
        found[is_known] = known
        return found, names

    def membership(self) -> Int32Array | None:
        """Number of each node's graph, if the archive says so."""
        if self._graphs is None:
            return None
        found = self._archive.array(self._graphs).reshape(-1)
        if found.dtype.kind not in "iu" or found.size != self.size.n_nodes:
            raise DataError(
                f"{self._archive.where(self._graphs)}: {found.dtype}[{found.size}]: expected the number of a graph for "
                f"each of {self.size.n_nodes} nodes"
            )
        return found.astype(INDEX)

    def parts(self) -> Mapping[str, AnyArray]:
        """Numbers of the nodes or graphs of the published parts."""
        found = {}
        for part, names in PART_NAMES.items():
            name = _first(self._archive, [each for name in names for each in (name, f"{name}_mask")])
            if name is None:
                continue
            values = self._archive.array(name).reshape(-1)
            if values.dtype.kind == "b":
                n_samples = self.labels()[0].size
                if values.size != n_samples:
                    raise DataError(f"{self.where}: {name}: {values.size} truth values: expected {n_samples}")
                values = np.flatnonzero(values)
            if values.dtype.kind not in "iu":
                raise DataError(f"{self.where}: {name}: {values.dtype}: expected node numbers or truth values")
            found[part] = values
        return found

    def description(self) -> str:
        """The file's name."""
        return self._archive.path.name

    def _size(self) -> GraphSize:
        archive, prefix = self._archive, self._prefix
        if self._dense is not None:
            stored = archive.arrays[self._dense]
            if len(stored.shape) != 2:
                raise DataError(f"{archive.where(self._dense)}: shape {list(stored.shape)}: expected nodes x features")
            n_nodes, n_features, n_stored = *stored.shape, stored.size
        else:
            shape = archive.array(f"{prefix}shape").reshape(-1) if f"{prefix}shape" in archive else np.empty(0)
            if shape.dtype.kind not in "iu" or shape.size != 2 or (shape < 1).any():
                raise DataError(f"{archive.where(f'{prefix}shape')}: {shape.tolist()}: expected nodes and features")
            n_nodes, n_features = int(shape[0]), int(shape[1])
            n_stored = archive.arrays[f"{prefix}indices"].size
            if archive.arrays[f"{prefix}indptr"].shape != (n_nodes + 1,):
                raise DataError(f"{archive.where(f'{prefix}indptr')}: expected {n_nodes + 1} numbers")
        is_weighted = f"{ADJACENCY}data" in archive if self._edges is None else self._weights is not None
        return GraphSize(n_nodes, self._n_edges(n_nodes), n_features, n_stored, self._dense is None, is_weighted)

    def _check_kinds(self) -> None:
        """Refuse ends of edges that are no whole numbers, and weights that are no numbers."""
        rows = [f"{ADJACENCY}{name}" for name in ("indptr", "indices")] if self._edges is None else []
        weights = f"{ADJACENCY}data" if self._edges is None else self._weights
        for name, kinds, wanted in (*((name, "iu", "whole numbers") for name in rows), (weights, "fiub", "numbers")):
            if name is not None and name in self._archive and self._archive.arrays[name].dtype.kind not in kinds:
                found = self._archive.arrays[name].dtype
                raise DataError(f"{self._archive.where(name)}: {found}: expected {wanted}")

    def _n_edges(self, n_nodes: int) -> int:
        archive = self._archive
        self._check_kinds()
        if self._edges is None:
            indptr = archive.arrays[f"{ADJACENCY}indptr"]
            if indptr.shape != (n_nodes + 1,) or f"{ADJACENCY}indices" not in archive:
                raise DataError(
                    f"{self.where}: {ADJACENCY}indptr: shape {list(indptr.shape)}: expected [{n_nodes + 1}] "
                    f"for {n_nodes} nodes, and {ADJACENCY}indices"
                )
            return archive.arrays[f"{ADJACENCY}indices"].size
        stored = archive.arrays[self._edges]
        if len(stored.shape) != 2 or 2 not in stored.shape or stored.dtype.kind not in "iu":
            raise DataError(
                f"{archive.where(self._edges)}: {stored.dtype}{list(stored.shape)}: expected int[m, 2] or int[2, m]"
            )
        if self._weights is not None and archive.arrays[self._weights].size != stored.size // 2:
            raise DataError(f"{archive.where(self._weights)}: expected {stored.size // 2} weights, one per edge")
        return stored.size // 2

    def _listed_edges(self) -> Iterator[Edges]:
        archive, name = self._archive, self._edges
        assert name is not None
        stored, m = archive.arrays[name], self.size.n_edges
        has_pairs = (name == "edges" or stored.shape[0] != 2) if stored.shape == (2, 2) else stored.shape[1] == 2
        ends: Iterator[tuple[AnyArray, ...]]
        if has_pairs != stored.by_columns:
            pairs = (each.reshape(-1, 2).T for each in archive.items(name, 0, 2 * m, 2 * EDGES_AT_A_TIME))
            ends = ((np.ascontiguousarray(one), np.ascontiguousarray(other)) for one, other in pairs)
        else:
            halves = (archive.items(name, first, first + m, EDGES_AT_A_TIME) for first in (0, m))
            ends = zip(*halves, strict=True)
        weights = archive.items(self._weights, 0, m, EDGES_AT_A_TIME) if self._weights is not None else None
        first = 0
        for sources, targets in ends:
            own = np.empty(0) if weights is None else next(weights).astype(np.float64)
            yield Edges(_as_numbers(sources), _as_numbers(targets), own, first)
            first += sources.size

    def _stored_rows(self) -> Iterator[Edges]:
        archive, m = self._archive, self.size.n_edges
        indptr = archive.array(f"{ADJACENCY}indptr").astype(OFFSET)
        _check_bounds(archive.where(f"{ADJACENCY}indptr"), indptr, m)
        indices = archive.items(f"{ADJACENCY}indices", 0, m, EDGES_AT_A_TIME)
        data = archive.items(f"{ADJACENCY}data", 0, m, EDGES_AT_A_TIME) if self.size.is_weighted else None
        first = 0
        for targets in indices:
            numbers = np.arange(first, first + targets.size, dtype=OFFSET)
            sources = np.searchsorted(indptr, numbers, side="right") - 1
            own = np.empty(0) if data is None else next(data).astype(np.float64)
            yield Edges(sources, _as_numbers(targets), own, first)
            first += targets.size


def _first(archive: StreamedArchive, names: tuple[str, ...] | list[str]) -> str | None:
    return next((name for name in names if name in archive), None)


def _prefix_of(archive: StreamedArchive) -> str | None:
    found = [prefix for prefix in SPARSE_PREFIXES if f"{prefix}indptr" in archive and f"{prefix}indices" in archive]
    return found[0] if found else None


def _listed(archive: StreamedArchive) -> str:
    return ", ".join(archive.arrays) or "no arrays"


def _as_numbers(ends: AnyArray) -> AnyArray:
    """Ends as int32 or int64, which kernels are compiled for."""
    return ends if ends.dtype in (INDEX, OFFSET) else ends.astype(OFFSET)


def _check_bounds(where: str, indptr: AnyArray, n_stored: int) -> None:
    if indptr[0] < 0 or indptr[-1] > n_stored or (np.diff(indptr) < 0).any():
        raise DataError(f"{where}: must rise from 0 to {n_stored}, the length of indices")
