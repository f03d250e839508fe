"""The source of a graph by the names of its files."""

from __future__ import annotations

from pathlib import Path

from hpc_sparse.errors import DataError
from hpc_sparse.importers.graphs.source import GraphSource

TABLES = {".csv", ".tsv", ".parquet"}


def open_graph(
    path: Path,
    *,
    nodes: Path | None = None,
    labels: Path | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    is_sparse: bool = False,
) -> GraphSource:
    """The source that fits the suffix of a file.

    Parameters
    ----------
    path : Path
        The edges; an .npz archive has all else, too.
    nodes : Path, optional
        The nodes of a list of edges, or the features of Matrix Market edges.
    labels : Path, optional
        The labels of Matrix Market edges.
    id_column, label_column : str, optional
        Of a table of nodes.
    is_sparse : bool
        Keep only the features of a table that are not 0.

    Raises
    ------
    DataError
        A file is missing, or of another kind.
    """
    if path.suffix == ".npz":
        from hpc_sparse.importers.graphs.npz import NpzGraph  # noqa: PLC0415 - of the kinds only one is needed

        for name, given in (("--nodes", nodes), ("--labels", labels), ("--id", id_column), ("--label", label_column)):
            if given is not None:
                raise DataError(f"{name} {given}: not with an .npz archive, which has features and labels")
        return NpzGraph(path)
    if path.suffix == ".mtx":
        from hpc_sparse.importers.graphs.matrix_market import MatrixMarketGraph  # noqa: PLC0415

        if nodes is None or labels is None:
            raise DataError(
                f"{path}: Matrix Market edges have no {'features' if nodes is None else 'labels'}: expected "
                f"{'--nodes FEATURES.mtx' if nodes is None else '--labels LABELS.txt'}, too"
            )
        return MatrixMarketGraph(path, nodes, labels)
    if TABLES & {suffix.lower() for suffix in path.suffixes}:
        from hpc_sparse.importers.graphs.tables import TableGraph  # noqa: PLC0415

        if nodes is None:
            raise DataError(f"{path}: a list of edges has no features and no labels: expected --nodes TABLE, too")
        if labels is not None:
            raise DataError(f"--labels {labels}: not with tables, where the nodes have a column of labels")
        return TableGraph(path, nodes, id_column, label_column, is_sparse=is_sparse)
    raise DataError(f"{path}: unknown kind of file: expected .npz, .csv, .tsv, .parquet or .mtx")
