"""Parquet files, read by PyArrow a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hpc_sparse.errors import DataError
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.source import CHUNK_BYTES
from hpc_sparse.importers.streamed import import_streamed
from hpc_sparse.importers.tables.columns import Columns, TableOptions, choose_columns
from hpc_sparse.importers.tables.rows import TableSource, check_options, load_arrow
from hpc_sparse.importers.text_files import reason
from hpc_sparse.storage.dataset.samples import DatasetInfo

CELL_BYTES = 8


def import_parquet(
    source: Path | str,
    target: Path | str,
    *,
    test: Path | str | None = None,
    table: TableOptions | None = None,
    options: ImportOptions | None = None,
) -> DatasetInfo:
    """Import a file: columns of numbers, truth values and text.

    Parameters
    ----------
    source, target : path
    test : path, optional
        A file for testing, with the same columns; by default some of the samples are taken.
    table : TableOptions, optional
        Choices about the columns.
    options : ImportOptions, optional

    Raises
    ------
    DataError
        A file cannot be read, values are missing, or a column in use has another type.
    MachineError
        PyArrow is not installed.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    table, options = table or TableOptions(), options or ImportOptions()
    arrow = load_arrow("parquet")
    paths = [Path(source)] if test is None else [Path(source), Path(test)]
    files = [ParquetFile(path, arrow) for path in paths]
    columns = choose_columns(str(paths[0]), files[0].names, files[0].is_text(), table)
    check_options(str(paths[0]), columns, options, is_sparse=table.is_sparse)
    for file in files:
        file.check(columns)
    described = ", ".join(path.name for path in paths)
    choices = {"is_sparse": table.is_sparse, "missing": options.missing}
    rows = TableSource(str(paths[0]), files, columns, described, **choices)  # type: ignore[arg-type]
    return import_streamed(rows, target, paths[0].stem, options)


class ParquetFile:
    """One file; a :class:`~hpc_sparse.importers.tables.rows.TableFile`."""

    def __init__(self, path: Path, arrow: Any) -> None:
        self.path, self._arrow = path, arrow
        try:
            with arrow.parquet.ParquetFile(path) as file:
                self._schema, self._n_rows = file.schema_arrow, file.metadata.num_rows
        except (OSError, ValueError, arrow.ArrowException) as error:
            raise DataError(f"{path}: cannot be read as a Parquet file: {reason(error)}") from error
        self.names: Sequence[str] = list(self._schema.names)

    def is_text(self) -> list[bool]:
        """Whether each column holds text."""
        return [self._is_text(kind) for kind in self._schema.types]

    def check(self, columns: Columns) -> None:
        """Refuse (DataError) columns that are missing or of a type that cannot be features."""
        for name in (columns.label, *columns.features):
            if name not in self.names:
                raise DataError(f'{self.path}: no column "{name}": it has {", ".join(self.names)}')
            kind = self._schema.field(name).type
            can_be_text = name == columns.label or name in columns.symbolic
            if not (self._is_number(kind) or (can_be_text and self._is_text(kind))):
                wanted = "numbers or text" if can_be_text else "numbers"
                raise DataError(f'{self.path}: column "{name}": {kind}: expected {wanted}; leave it out with --drop')

    def batches(self, columns: Columns) -> Iterator[tuple[Any, int]]:
        """All rows, and how many these are so far."""
        used = [columns.label, *columns.features]
        n_rows = max(1, CHUNK_BYTES // (CELL_BYTES * len(used)))
        done = 0
        try:
            with self._arrow.parquet.ParquetFile(self.path, pre_buffer=False) as file:
                for batch in file.iter_batches(n_rows, columns=used, use_threads=False):
                    done += batch.num_rows
                    yield batch, done
        except (OSError, ValueError, self._arrow.ArrowException) as error:
            raise DataError(f"{self.path}: cannot be read: {reason(error)}") from error

    def size(self) -> int:
        """Rows."""
        return int(self._n_rows)

    def where_row(self, row: int) -> str:
        """File and row (from 1) of a row, numbered from 0."""
        return f"{self.path}: row {row + 1}"

    def _is_number(self, kind: Any) -> bool:
        types = self._arrow.types
        return any(
            is_such(kind) for is_such in (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
        )

    def _is_text(self, kind: Any) -> bool:
        types = self._arrow.types
        if types.is_dictionary(kind):
            kind = kind.value_type
        return bool(types.is_string(kind) or types.is_large_string(kind))
