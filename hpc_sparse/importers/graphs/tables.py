"""Graphs in tables (.csv, .tsv, .parquet): one of edges, and one of nodes with their names, features and labels.

The first two columns of the edges name their ends; a column "weight" has weights. The first column of the nodes, or
another that is chosen, has their names, numbers or texts. Each rank reads both tables; it keeps its nodes' features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, AnyArray, Int32Array
from hpc_sparse.errors import DataError, quoted
from hpc_sparse.importers.graphs.source import Edges, GraphSize
from hpc_sparse.importers.tables.columns import Columns, TableOptions, choose_columns, find_column
from hpc_sparse.importers.tables.delimited import DelimitedFile
from hpc_sparse.importers.tables.parquet import ParquetFile
from hpc_sparse.importers.tables.rows import TableFile, TableSource, WhereRow, load_arrow, numbers, text_codes
from hpc_sparse.importers.tables.shape import TextFormat, find_shape
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features, take_rows

WEIGHT = "weight"
LONGEST_NAME = 40


class NamedFile(TableFile, Protocol):
    """A file of rows that knows which columns are text."""

    def is_text(self) -> list[bool]:
        """Whether each column holds text."""
        ...


class TableGraph:
    """Two tables; a :class:`~hpc_sparse.importers.graphs.source.GraphSource`.

    Parameters
    ----------
    edges, nodes : Path
    id_column, label_column : str or None
        Names or numbers of columns of the nodes.
    is_sparse : bool
        Keep only features that are not 0.
    """

    def __init__(
        self, edges: Path, nodes: Path, id_column: str | None, label_column: str | None, *, is_sparse: bool
    ) -> None:
        self.where, self._paths = str(nodes), (edges, nodes)
        self._nodes, names = _opened(nodes)
        self._id = names[0] if id_column is None else find_column(str(nodes), names, id_column)
        options = TableOptions(label_column, dropped=(self._id,), is_sparse=is_sparse)
        self._columns = choose_columns(str(nodes), names, self._nodes.is_text(), options)
        self._is_sparse = is_sparse
        self._edges, edge_names = _opened(edges)
        if len(edge_names) < 2:
            raise DataError(f"{edges}: columns {list(edge_names)}: expected the two ends of an edge")
        has_weights = WEIGHT in edge_names[2:]
        ends = edge_names[:2]
        self._ends = Columns(ends[0], (ends[1], *([WEIGHT] if has_weights else [])), frozenset(ends[1:]))
        self._number = self._numbers()
        self._labels, self._class_names, n_features, n_stored = self._first_pass()
        n_edges = sum(batch.num_rows for batch, _ in self._edges.batches(self._ends))
        if not n_edges:
            raise DataError(f"{edges}: has no edges")
        self.size = GraphSize(len(self._number), n_edges, n_features, n_stored, is_sparse, has_weights)

    def edges(self) -> Iterator[Edges]:
        """All edges, some at a time."""
        first = 0
        source, target = self._ends.label, self._ends.features[0]
        for batch, _ in self._edges.batches(self._ends):
            where = partial(_where, self._edges, first)
            ends = [self._found(batch.column(name), name, where) for name in (source, target)]
            weights = np.empty(0)
            if self.size.is_weighted:
                weights = numbers(batch.column(WEIGHT), WEIGHT, where).astype(np.float64)
            yield Edges(ends[0], ends[1], weights, first)
            first += batch.num_rows

    def features(self, start: int, stop: int) -> Features:
        """Features of the nodes ``start:stop``."""
        rows, kept, first = self._rows(), list[Features](), 0
        for chunk in rows.chunks(0):
            n = chunk.features.n_samples
            own = np.arange(max(0, start - first), min(n, stop - first), dtype=OFFSET)
            if own.size:
                kept.append(take_rows(chunk.features, own))
            first += n
        space = rows.feature_space()
        arranged = [space.arranged(each) for each in kept]
        if self._is_sparse:
            return _stacked(arranged, space.n_features)
        values = [each.values for each in arranged]
        return DenseFeatures(np.concatenate(values) if values else np.empty((0, space.n_features), np.float32))

    def labels(self) -> tuple[Int32Array, tuple[str, ...]]:
        """Classes of the nodes, and their names."""
        return self._labels, self._class_names

    def membership(self) -> None:
        """None: the samples are the nodes."""

    def parts(self) -> Mapping[str, AnyArray]:
        """None: tables do not say."""
        return {}

    def description(self) -> str:
        """Names of the files."""
        return ", ".join(path.name for path in self._paths)

    def _rows(self) -> TableSource:
        described = self._paths[1].name
        return TableSource(self.where, [self._nodes], self._columns, described, is_sparse=self._is_sparse)

    def _first_pass(self) -> tuple[Int32Array, tuple[str, ...], int, int]:
        rows, n_stored = self._rows(), 0
        codes = [np.empty(0, INDEX)]
        for chunk in rows.chunks(0):
            codes.append(chunk.labels)
            n_stored += chunk.features.values.size
        found = np.concatenate(codes)
        label, names = rows.labels.finish(found.size)
        return label[found], names, rows.feature_space().n_features, n_stored

    def _numbers(self) -> dict[str, int]:
        """Number of each node by its name."""
        found: dict[str, int] = {}
        for batch, _ in self._nodes.batches(Columns(self._id, (), frozenset())):
            where = partial(_where, self._nodes, len(found))
            codes, texts = text_codes(batch.column(self._id), self._id, where)
            for row, code in enumerate(codes.tolist()):
                if texts[code] in found:
                    name = quoted(texts[code], LONGEST_NAME)
                    raise DataError(f'{where(row)}: node "{name}" is there twice: expected each name once')
                found[texts[code]] = len(found)
        if not found:
            raise DataError(f"{self.where}: has no nodes")
        return found

    def _found(self, column: Any, name: str, where: WhereRow) -> AnyArray:
        """Numbers of the nodes that a column names."""
        codes, texts = text_codes(column, name, where)
        numbers = np.array([self._number.get(text, -1) for text in texts], OFFSET)
        if (numbers < 0).any():
            code = int(np.argmax(numbers < 0))
            row, shown = int(np.argmax(codes == code)), quoted(texts[code], LONGEST_NAME)
            raise DataError(f'{where(row)}: edge to node "{shown}": there is no such node in {self.where}')
        return numbers[codes]


def _opened(path: Path) -> tuple[NamedFile, tuple[str, ...]]:
    """A table and the names of its columns."""
    if ".parquet" in path.suffixes:
        file = ParquetFile(path, load_arrow("parquet"))
        return file, tuple(file.names)
    arrow = load_arrow("csv")
    shape = find_shape(path, TextFormat())
    return DelimitedFile(path, shape, arrow), shape.names


def _where(file: TableFile, first: int, row: int) -> str:
    return file.where_row(first + row)


def _stacked(parts: list[Features], n_features: int) -> CsrFeatures:
    indptr, indices, values = [np.zeros(1, OFFSET)], [np.empty(0, INDEX)], [np.empty(0, np.float32)]
    for part in parts:
        assert isinstance(part, CsrFeatures)
        indptr.append(part.indptr[1:] + indptr[-1][-1])
        indices.append(part.indices)
        values.append(part.values)
    return CsrFeatures(np.concatenate(indptr), np.concatenate(indices), np.concatenate(values), n_features)
