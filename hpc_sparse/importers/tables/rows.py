"""Rows of tables become features: numbers as they are, each symbol of a column a feature that is 1 where it stands."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array, Int32Array
from hpc_sparse.errors import DataError, MachineError, quoted
from hpc_sparse.importers.labels import LabelCollector
from hpc_sparse.importers.options import ImportOptions, Missing
from hpc_sparse.importers.source import Chunk, FeatureSpace
from hpc_sparse.importers.tables.columns import Columns
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features

MOST_SYMBOLS = 1000
"""Largest number of symbols of a column whose features are stored dense."""

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null", "NULL")
"""Texts of cells that have no value."""

ABSENT = ""
"""The symbol of a cell that has no value."""

FEW_ROWS = 20
"""In smaller tables, distinct texts get a warning only."""

MOSTLY_DISTINCT = 0.9
"""Share of rows with a text of their own, above which a column is taken for names, times or the like."""

LOG = logging.getLogger(__name__)

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

WhereRow = Callable[[int], str]
"""Names file and line of a row, numbered from 0, for messages."""


class TableFile(Protocol):
    """A file of rows; batches have the columns that are asked for, by name."""

    def batches(self, columns: Columns) -> Iterator[tuple[Any, int]]:
        """All rows in Arrow record batches, and how far in the file each one ends."""

    def size(self) -> int:
        """Size of the file, in the unit of the positions in ``batches``."""

    def where_row(self, row: int) -> str:
        """File and line of a row, numbered from 0."""


class TableSource:
    """One or two files with the same columns."""

    def __init__(
        self,
        where: str,
        files: Sequence[TableFile],
        columns: Columns,
        described: str,
        *,
        is_sparse: bool,
        missing: Missing = "refuse",
    ) -> None:
        self.where, self.n_parts, self._files, self._described = where, len(files), files, described
        self.labels = LabelCollector(where)
        self._columns, self._is_sparse, self._missing = columns, is_sparse, missing
        self._numeric = [name for name in columns.features if name not in columns.symbolic]
        self._symbols: dict[str, dict[str, int]] = {name: {} for name in columns.features if name in columns.symbolic}
        self._is_number: dict[str, bool] = {}
        self._n_preliminary = len(self._numeric)
        self._n_rows = 0

    def chunks(self, part: int) -> Iterator[Chunk]:
        """All rows of a file, in order."""
        file, row = self._files[part], 0
        for batch, done in file.batches(self._columns):
            first = row
            row += batch.num_rows
            self._n_rows += batch.num_rows
            if first < row:
                yield self._chunk(batch, partial(_where, file, first), done)

    def size(self, part: int) -> int:
        """Size of a file, in the unit of ``Chunk.done``."""
        return self._files[part].size()

    def feature_space(self) -> FeatureSpace:
        """Features in the order of the columns, those of a column in the order of its symbols."""
        for column in self._symbols:
            self._check_repeated(column)
        number = np.zeros(self._n_preliminary, INDEX)
        names: list[str] = []
        for column in self._columns.features:
            if column not in self._symbols:
                number[self._numeric.index(column)] = len(names)
                names.append(column)
                continue
            for symbol, preliminary in sorted(self._symbols[column].items()):
                number[preliminary] = len(names)
                names.append(f"{column}={symbol}" if symbol != ABSENT else f"{column} is missing")
        return FeatureSpace(len(names), self._is_sparse, names, number)

    def description(self) -> str:
        """File, label column, and columns of symbols."""
        parts = [self._described, f"label {self._columns.label}"]
        if self._symbols:
            parts.append("one-hot: " + ", ".join(f"{name} ({len(found)})" for name, found in self._symbols.items()))
        if self._columns.indexes:
            parts.append("index left out: " + ", ".join(self._columns.indexes))
        return "; ".join(parts)

    def _chunk(self, batch: Any, where_row: WhereRow, done: int) -> Chunk:
        codes, texts = text_codes(batch.column(self._columns.label), self._columns.label, where_row)
        labels = self.labels.add_coded(codes, texts)
        table = np.empty((batch.num_rows, len(self._numeric)), VALUE)
        for position, name in enumerate(self._numeric):
            table[:, position] = numbers(batch.column(name), name, where_row, may_miss=self._missing != "refuse")
        return Chunk(self._features(table, batch, where_row), labels, done)

    def _features(self, table: Float32Array, batch: Any, where_row: WhereRow) -> Features:
        if not self._symbols and not self._is_sparse:
            return DenseFeatures(table)
        values = np.ones((table.shape[0], table.shape[1] + len(self._symbols)), VALUE)
        values[:, : table.shape[1]] = table
        index = np.empty(values.shape, INDEX)
        index[:, : table.shape[1]] = np.arange(table.shape[1])
        for position, name in enumerate(self._symbols, start=table.shape[1]):
            codes, texts = text_codes(batch.column(name), name, where_row, may_miss=self._missing != "refuse")
            self._check_kind(name, codes, texts, where_row)
            if self._missing == "mean" and ABSENT in texts:
                # No symbol: all features of the column are 0.
                values[codes == texts.index(ABSENT), position] = 0
                codes, texts = np.minimum(codes, len(texts) - 2), texts[:-1]
            index[:, position] = self._symbol_numbers(name, codes, texts) if texts else 0
        is_stored = values != 0
        indptr = np.zeros(values.shape[0] + 1, OFFSET)
        np.cumsum(np.count_nonzero(is_stored, axis=1), out=indptr[1:])
        return CsrFeatures(indptr, index[is_stored], values[is_stored], self._n_preliminary)

    def _check_kind(self, column: str, codes: AnyArray, texts: Sequence[str], where_row: WhereRow) -> None:
        """Refuse a column of numbers with something else in it, which may be a mistake."""
        texts = [text for text in texts if text != ABSENT]  # which is the last one
        if column in self._columns.mixed or not texts:
            return
        if all(is_number(text, ",") for text in texts) and any("," in text for text in texts):
            raise DataError(
                f'{where_row(0)}: column "{column}": "{quoted(texts[0], 40)}": looks like a number with a decimal '
                "comma: read text with --decimal , (or name the column with --symbolic)"
            )
        expected = self._is_number.setdefault(column, is_number(texts[0]))
        for code, text in enumerate(texts):
            if is_number(text) != expected:
                where, wanted = where_row(int(np.argmax(codes == code))), "a number" if expected else "text"
                raise DataError(
                    f'{where}: column "{column}": "{quoted(text, 40)}": expected {wanted}, as in the rows before '
                    "(or name the column with --symbolic)"
                )

    def _check_repeated(self, column: str) -> None:
        """Refuse, in small tables warn of, a column of texts that are almost all different."""
        n_texts = len(self._symbols[column])
        if column in self._columns.mixed or n_texts <= MOSTLY_DISTINCT * self._n_rows:
            return
        message = (
            f'{self.where}: column "{column}": {n_texts} different texts in {self._n_rows} rows, such as '
            f'"{quoted(next(iter(self._symbols[column])), 40)}": each would be a feature: leave it out with --drop, '
            "or name it with --symbolic"
        )
        if self._n_rows >= FEW_ROWS:
            raise DataError(message)
        LOG.warning("%s", message)

    def _symbol_numbers(self, column: str, codes: AnyArray, texts: Sequence[str]) -> Int32Array:
        known = self._symbols[column]
        for text in texts:
            if text not in known:
                known[text] = self._n_preliminary
                self._n_preliminary += 1
        if len(known) > MOST_SYMBOLS and not self._is_sparse:
            raise DataError(
                f'{self.where}: column "{column}": more than {MOST_SYMBOLS} different texts: leave it out with --drop, '
                "or store the features with --sparse"
            )
        return np.array([known[text] for text in texts], INDEX)[codes]


def _where(file: TableFile, first: int, row: int) -> str:
    return file.where_row(first + row)


def is_number(text: str, decimal: str = ".") -> bool:
    """Whether a text, without spaces around it, is a number with this mark before its fraction."""
    if decimal != ".":
        if "." in text:
            return False
        text = text.replace(decimal, ".")
    return NUMBER.fullmatch(text) is not None


def numbers(column: Any, name: str, where_row: WhereRow, *, may_miss: bool = False) -> Float32Array:
    """A column of numbers or truth values, float32[n_rows], without missing ones (DataError), or with NaN for them."""
    if column.null_count and not may_miss:
        row = int(np.argmax(np.asarray(column.is_null())))
        raise DataError(f'{where_row(row)}: column "{name}": has no value: expected a number')
    arrow = import_module("pyarrow")
    if not (arrow.types.is_float32(column.type) or arrow.types.is_float64(column.type)):
        column = column.cast(arrow.float64(), safe=False)
    if column.null_count:
        column = import_module("pyarrow.compute").fill_null(column, math.nan)
    values = array_of(column)
    with np.errstate(over="ignore"):
        converted = values.astype(VALUE)
    is_finite = np.isfinite(converted) | (np.isnan(values) & may_miss)
    if not is_finite.all():
        row = int(np.argmin(is_finite))
        raise DataError(
            f'{where_row(row)}: column "{name}": {values[row]}: expected a number that is finite as float32'
        )
    return converted


def text_codes(column: Any, name: str, where_row: WhereRow, *, may_miss: bool = False) -> tuple[AnyArray, list[str]]:
    """A column as texts without spaces around them: each row's position in the list.

    None is missing (DataError); or else ABSENT, the last one, stands for those that are.
    """
    compute, arrow = import_module("pyarrow.compute"), import_module("pyarrow")
    if arrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (arrow.types.is_string(column.type) or arrow.types.is_large_string(column.type)):
        column = column.cast(arrow.string())
    coded = compute.utf8_trim_whitespace(column).dictionary_encode()
    texts: list[str] = coded.dictionary.to_pylist()
    missing = [number for number, text in enumerate(texts) if text in MISSING]
    if may_miss and (coded.null_count or missing):
        kept = [number for number in range(len(texts)) if number not in set(missing)]
        position = np.full(len(texts) + 1, len(kept), INDEX)
        position[kept] = np.arange(len(kept))
        codes = array_of(compute.fill_null(coded.indices, len(texts)))
        return position[codes], [*(texts[number] for number in kept), ABSENT]
    if coded.null_count or missing:
        is_missing = np.asarray(coded.is_null()) | np.isin(np.asarray(coded.indices), missing)
        row = int(np.argmax(is_missing))
        shown = coded[row].as_py() or ""
        raise DataError(f'{where_row(row)}: column "{name}": "{shown}": is a missing value: expected a text or number')
    return array_of(coded.indices), texts


def array_of(column: Any) -> AnyArray:
    """The numbers of an Arrow array that misses none, as they are. Arrow's own way to NumPy would import Pandas."""
    found: AnyArray = np.from_dlpack(column)
    return found


def check_options(where: str, columns: Columns, options: ImportOptions, *, is_sparse: bool) -> None:
    """Refuse (DataError) preparations that make no sense for these columns."""
    if options.log2 and columns.symbolic:
        raise DataError(
            f"{where}: log2: symbols would become 0 ({', '.join(sorted(columns.symbolic))}): expected numbers only"
        )
    if options.tf_idf and not is_sparse:
        raise DataError(f"{where}: tf-idf of a table: expected --sparse, too")
    if options.missing == "flag" and options.time_steps > 1:
        raise DataError(f"{where}: flags of missing values are of no step: expected --time-steps 1, or means alone")
    if options.tf_idf and options.missing != "refuse":
        raise DataError(f"{where}: tf-idf together with missing values by {options.missing}: expected one of them")


def load_arrow(reader: Literal["csv", "parquet"]) -> Any:
    """PyArrow with one of its readers, if it is installed (MachineError)."""
    try:
        arrow = import_module("pyarrow")
        import_module("pyarrow.compute")
        if reader == "csv":
            import_module("pyarrow.csv")
        else:
            import_module("pyarrow.parquet")
    except ImportError as error:
        raise MachineError(
            f"tables: need PyArrow, which cannot be imported ({error}): pip install 'hpc-sparse[tables]'"
        ) from None
    return arrow
