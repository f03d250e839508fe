"""Graphs in Matrix Market files (.mtx): an adjacency matrix, a matrix of features, and a text file of labels.

SciPy reads the matrices, each rank all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from hpc_sparse.dtypes import INDEX, OFFSET, AnyArray, Int32Array
from hpc_sparse.errors import DataError, quoted
from hpc_sparse.importers.features import csr_features, dense_features
from hpc_sparse.importers.graphs.source import EDGES_AT_A_TIME, UNLABELLED, Edges, GraphSize
from hpc_sparse.importers.labels import encode_labels
from hpc_sparse.importers.text_files import opened_text, reason
from hpc_sparse.storage.dataset.samples import CsrFeatures, Features, take_rows

NO_LABEL = ("", "-1", "?")


class MatrixMarketGraph:
    """Three files; a :class:`~hpc_sparse.importers.graphs.source.GraphSource`."""

    def __init__(self, adjacency: Path, features: Path, labels: Path) -> None:
        self.where, self._paths = str(adjacency), (adjacency, features, labels)
        matrix = scipy.sparse.coo_array(_read(adjacency))
        if matrix.shape[0] != matrix.shape[1]:
            raise DataError(f"{adjacency}: shape {list(matrix.shape)}: expected as many rows as columns")
        self._sources, self._targets = (ends.astype(INDEX) for ends in matrix.coords)
        weights = np.asarray(matrix.data)
        if weights.dtype.kind not in "fiub":
            raise DataError(f"{adjacency}: {weights.dtype}: expected real numbers")
        self._weights = np.empty(0) if (weights == 1).all() else weights.astype(np.float64)
        self._features = _features(features)
        n = int(matrix.shape[0])
        if self._features.n_samples != n:
            raise DataError(f"{features}: {self._features.n_samples} rows: expected {n}, one per node")
        if not matrix.nnz:
            raise DataError(f"{adjacency}: has no edges")
        stored = int(self._features.values.size)
        is_sparse = isinstance(self._features, CsrFeatures)
        self.size = GraphSize(n, int(matrix.nnz), self._features.n_features, stored, is_sparse, self._weights.size > 0)

    def edges(self) -> Iterator[Edges]:
        """All edges, some at a time."""
        for first in range(0, self._sources.size, EDGES_AT_A_TIME):
            own = slice(first, first + EDGES_AT_A_TIME)
            yield Edges(self._sources[own], self._targets[own], self._weights[own], first)

    def features(self, start: int, stop: int) -> Features:
        """Features of the nodes ``start:stop``."""
        return take_rows(self._features, np.arange(start, stop, dtype=OFFSET))

    def labels(self) -> tuple[Int32Array, tuple[str, ...]]:
        """Classes of the nodes, and their names."""
        path, n = self._paths[2], self.size.n_nodes
        with opened_text(path) as (text, _):
            lines = [line.decode("utf-8", "replace").strip() for line in text]
        lines += [""] * (n - len(lines))
        if len(lines) != n:
            raise DataError(f"{path}: {len(lines)} lines: expected {n}, one per node")
        words = np.array(lines)
        is_known = ~np.isin(words, NO_LABEL)
        if not is_known.any():
            raise DataError(f"{path}: has no labels")
        (known,), names = encode_labels(str(path), (words[is_known],))
        found = np.full(n, UNLABELLED, INDEX)
        found[is_known] = known
        return found, names

    def membership(self) -> None:
        """None: the samples are the nodes."""

    def parts(self) -> Mapping[str, AnyArray]:
        """None: the files do not say."""
        return {}

    def description(self) -> str:
        """Names of the files."""
        return ", ".join(path.name for path in self._paths)


def _features(path: Path) -> Features:
    matrix: Any = _read(path)
    if isinstance(matrix, np.ndarray):
        return dense_features(str(path), matrix)
    rows: Any = scipy.sparse.csr_array(matrix)
    return csr_features(str(path), rows.indptr, rows.indices, rows.data, (int(rows.shape[0]), int(rows.shape[1])))


def _read(path: Path) -> Any:
    from scipy.io import mmread  # noqa: PLC0415 - of all kinds of graphs, this one needs it

    try:
        return mmread(path)
    except (OSError, ValueError, OverflowError, IndexError, MemoryError) as error:
        raise DataError(f"{path}: cannot be read as a Matrix Market file: {quoted(reason(error))}") from error
