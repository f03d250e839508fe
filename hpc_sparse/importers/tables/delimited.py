"""Comma- and tab-separated text, plain or compressed (.gz, .bz2, .xz), read by PyArrow block by block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

from hpc_sparse.errors import DataError, quoted
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.streamed import import_streamed
from hpc_sparse.importers.tables.columns import Columns, TableOptions, choose_columns
from hpc_sparse.importers.tables.rows import MISSING, TableSource, check_options, is_number, load_arrow
from hpc_sparse.importers.tables.shape import Shape, TextFormat, find_shape
from hpc_sparse.importers.text_files import file_size, line_of_row, opened_text
from hpc_sparse.storage.dataset.samples import DatasetInfo

BLOCK_BYTES = 256 * 1024
"""Read at a time; more where lines are long. PyArrow holds several blocks."""

LINES_PER_BLOCK = 4
RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
UNREADABLE = re.compile(
    r"In CSV column #(\d+): (?:Row #(\d+): )?CSV conversion error to (\w+): (?:invalid value '(.*)')?", re.S
)


def import_delimited(
    source: Path | str,
    target: Path | str,
    *,
    test: Path | str | None = None,
    delimiter: str | None = None,
    has_header: bool | None = None,
    encoding: str | None = None,
    decimal: str = ".",
    table: TableOptions | None = None,
    options: ImportOptions | None = None,
) -> DatasetInfo:
    """Import a file in one pass.

    Parameters
    ----------
    source, target : path
    test : path, optional
        A file for testing, with the same columns; by default some of the samples are taken.
    delimiter, has_header, encoding, decimal : optional
        How the text is written, as in :class:`~hpc_sparse.importers.tables.shape.TextFormat`.
    table : TableOptions, optional
        Choices about the columns.
    options : ImportOptions, optional

    Raises
    ------
    DataError
        A file cannot be read; rows differ in length; or a value is missing or no number where the first rows have
        numbers. The message names the line.
    MachineError
        PyArrow is not installed.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    table, options = table or TableOptions(), options or ImportOptions()
    layout = TextFormat(delimiter, has_header, encoding, decimal)
    arrow = load_arrow("csv")
    paths = [Path(source)] if test is None else [Path(source), Path(test)]
    shapes = [find_shape(path, layout) for path in paths]
    if len(shapes) > 1 and shapes[1].names != shapes[0].names:
        raise DataError(
            f"{paths[1]}: columns {list(shapes[1].names)}: expected those of {paths[0]}, {list(shapes[0].names)}"
        )
    files = [DelimitedFile(path, shape, arrow) for path, shape in zip(paths, shapes, strict=True)]
    columns = choose_columns(str(paths[0]), shapes[0].names, files[0].is_text(), table)
    check_options(str(paths[0]), columns, options, is_sparse=table.is_sparse)
    described = ", ".join(path.name for path in paths) + shapes[0].described()
    choices = {"is_sparse": table.is_sparse, "missing": options.missing}
    rows = TableSource(str(paths[0]), files, columns, described, **choices)  # type: ignore[arg-type]
    return import_streamed(rows, target, paths[0].name.partition(".")[0], options)


class DelimitedFile:
    """One file; a :class:`~hpc_sparse.importers.tables.rows.TableFile`."""

    def __init__(self, path: Path, shape: Shape, arrow: Any) -> None:
        self.path, self._shape, self._arrow = path, shape, arrow
        with self._reader({}, None) as (reader, _):
            self._types = {name: str(field.type) for name, field in zip(shape.names, reader.schema, strict=True)}

    def is_text(self) -> list[bool]:
        """Whether each column holds text, by the first block."""
        return [found == "string" for found in self._types.values()]

    def batches(self, columns: Columns) -> Iterator[tuple[Any, int]]:
        """All rows, and how many bytes of the file they took."""
        used = (columns.label, *columns.features)
        types = {name: self._type(name, columns) for name in used}
        with self._reader(types, list(used)) as (reader, file), self._errors():
            for batch in reader:
                yield batch, file.tell()
        # What reading took is not needed for writing.
        for pool in (self._arrow.default_memory_pool(), self._arrow.system_memory_pool()):
            pool.release_unused()

    def size(self) -> int:
        """Bytes."""
        return file_size(self.path)

    def where_row(self, row: int) -> str:
        """File and line of a row, numbered from 0."""
        return self._where_line(self._shape.n_skipped + row + 1)

    def _type(self, name: str, columns: Columns) -> Any:
        if name == columns.label or name in columns.symbolic:
            return self._arrow.string()
        found = self._types[name]
        if found.startswith(("date", "time", "timestamp")):
            raise DataError(f'{self.path}: column "{name}" holds dates or times: leave it out with --drop')
        return self._arrow.bool_() if found == "bool" else self._arrow.float32()

    @contextmanager
    def _reader(self, types: dict[str, Any], used: list[str] | None) -> Iterator[tuple[Any, IO[bytes]]]:
        arrow_csv, shape = self._arrow.csv, self._shape
        read = arrow_csv.ReadOptions(
            use_threads=False,  # only then do messages have row numbers
            block_size=max(BLOCK_BYTES, LINES_PER_BLOCK * shape.longest_line),
            column_names=list(shape.names),
            skip_rows=shape.n_skipped,
        )
        convert = arrow_csv.ConvertOptions(
            column_types=types, include_columns=used, null_values=list(MISSING), decimal_point=shape.decimal
        )
        parse = arrow_csv.ParseOptions(delimiter=shape.delimiter)
        with opened_text(self.path, shape.encoding) as (text, file):
            with self._errors():
                reader = arrow_csv.open_csv(
                    text,
                    read_options=read,
                    parse_options=parse,
                    convert_options=convert,
                    memory_pool=self._arrow.system_memory_pool(),  # gives back what is not needed any more
                )
            with reader:
                yield reader, file

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say in our own words what PyArrow found wrong."""
        try:
            yield
        except self._arrow.ArrowInvalid as error:
            self._fail(str(error))

    def _fail(self, message: str) -> NoReturn:
        if found := RAGGED.search(message):
            row, expected, cells = (int(number) for number in found.groups())
            raise DataError(
                f"{self._where_line(row)}: {cells} cells: expected {expected}, as in the first line"
            ) from None
        if found := UNREADABLE.search(message):
            name = self._shape.names[int(found[1])]
            where = self._where_line(int(found[2])) if found[2] else str(self.path)
            if found[4] is None:
                raise DataError(
                    f'{where}: column "{name}": is not UTF-8 text: name its encoding with --encoding, such as cp1252'
                ) from None
            mark = (
                "" if self._shape.decimal == "," or not is_number(found[4].strip(), ",") else "read with --decimal , "
            )
            raise DataError(
                f'{where}: column "{name}": "{quoted(found[4], 40)}": expected a number, as in the first rows '
                f"({mark}or name the column with --symbolic)"
            ) from None
        raise DataError(f"{self.path}: cannot be read: {quoted(message, 200)}") from None

    def _where_line(self, row: int) -> str:
        return f"{self.path}: line {line_of_row(self.path, row, self._shape.n_skipped, self._shape.encoding)}"
