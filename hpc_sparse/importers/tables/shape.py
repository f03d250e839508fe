"""Layout of delimited text, as the user says or as its first lines look."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpc_sparse.errors import DataError, quoted
from hpc_sparse.importers.tables.columns import UNNAMED
from hpc_sparse.importers.tables.rows import MISSING, is_number
from hpc_sparse.importers.text_files import find_encoding, opened_text

NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";"}
DELIMITERS = (",", "\t", ";", "|")
DECIMALS = (".", ",")

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextFormat:
    """What a user says about a text file; None: as it looks.

    Attributes
    ----------
    delimiter : str or None
        Default: a tab in .tsv files, else the most frequent in the first line of comma, tab, semicolon and bar.
    has_header : bool or None
        Whether the first line names the columns. Default: if its cells all differ and none is a number or empty.
        An empty first cell is the name of an index, as Pandas writes it.
    encoding : str or None
        Default: what a byte-order mark says, UTF-16 by its zeros, or UTF-8.
    decimal : str
        The mark before the fraction of a number: a point or a comma.
    """

    delimiter: str | None = None
    has_header: bool | None = None
    encoding: str | None = None
    decimal: str = "."


@dataclass(frozen=True)
class Shape:
    """Layout of a file: its delimiter, the columns' names, the lines before the first row, and how it is written."""

    delimiter: str
    names: tuple[str, ...]
    n_skipped: int
    longest_line: int
    encoding: str | None = None
    decimal: str = "."

    def described(self) -> str:
        """What is not usual about it, to follow the name of the file."""
        return (
            ("" if self.n_skipped else ", without header")
            + (f", {self.encoding}" if self.encoding not in {None, "utf-8"} else "")
            + (", decimal comma" if self.decimal == "," else "")
        )


def find_shape(path: Path, layout: TextFormat) -> Shape:
    """Look at the first lines that are not empty.

    Raises
    ------
    DataError
        The file is empty or not text of the encoding, a mark is not one character, or two columns have one name.
    """
    if layout.decimal not in DECIMALS:
        raise DataError(f'{path}: decimal = "{quoted(layout.decimal, 40)}": must be a point or a comma')
    encoding = find_encoding(path, layout.encoding)
    if encoding and layout.encoding is None:
        LOG.warning("%s: read as %s, as its first bytes say; --encoding names another one", path, encoding)
    n_before, lines = _first_lines(path, encoding)
    found = _delimiter(path, lines, layout)
    rows = [[cell.strip() for cell in next(csv.reader([line], delimiter=found), [])] for line in lines]
    cells = rows[0]
    has_header = layout.has_header
    if has_header is None:
        has_header = _is_header(cells, layout.decimal) or _is_header_of_index(rows, layout.decimal)
    names = tuple(cells) if has_header else tuple(f"column_{number}" for number in range(1, len(cells) + 1))
    if has_header and not names[0]:
        names = (UNNAMED, *names[1:])
    twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f'{path}: line {n_before + 1}: two columns are named "{twice[0]}": expected each name once')
    longest = max(len(line.encode()) for line in lines)
    return Shape(found, names, n_before + 1 if has_header else 0, longest, encoding, layout.decimal)


def _delimiter(path: Path, lines: Sequence[str], layout: TextFormat) -> str:
    given = NAMED_DELIMITERS.get(layout.delimiter or "", layout.delimiter)
    found = given or ("\t" if ".tsv" in path.suffixes else _most_frequent(lines, layout.decimal))
    if len(found) != 1:
        raise DataError(f'{path}: delimiter = "{found}": must be one character, or tab')
    if found == layout.decimal:
        raise DataError(f'{path}: delimiter = "{found}": is the decimal mark, too: name another --delimiter')
    return found


def _most_frequent(lines: Sequence[str], decimal: str) -> str:
    """The likely delimiter; a comma within the numbers between other delimiters is none."""
    others = DELIMITERS[1:]
    has_comma_numbers = any(
        "," in cell and is_number(cell.strip(), ",")
        for mark in others
        if mark in lines[0]
        for cell in lines[0].split(mark)
    )
    return max(others if decimal == "," or has_comma_numbers else DELIMITERS, key=lines[0].count)


def _is_header(cells: Sequence[str], decimal: str) -> bool:
    return len(set(cells)) == len(cells) and not any(cell in MISSING or is_number(cell, decimal) for cell in cells)


def _is_header_of_index(rows: Sequence[Sequence[str]], decimal: str) -> bool:
    """Whether all but the first cell are names, and the row below has numbers: then the first column is an index."""
    if len(rows) < 2 or rows[0][0] or len(rows[0]) < 2 or not rows[1] or not rows[1][0]:
        return False
    return _is_header(rows[0][1:], decimal) and any(is_number(cell, decimal) for cell in rows[1])


def _first_lines(path: Path, encoding: str | None) -> tuple[int, list[str]]:
    """Number of empty lines at the beginning, and up to two lines after them."""
    n_before = 0
    with opened_text(path, encoding) as (text, _):
        line = text.readline()
        while line and not line.strip():
            n_before, line = n_before + 1, text.readline()
        try:
            lines = [line.decode("utf-8-sig").rstrip("\r\n"), text.readline().decode().rstrip("\r\n")]
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}: "
                "name its encoding with --encoding, such as cp1252"
            ) from None
    if not lines[0]:
        raise DataError(f"{path}: is empty: expected rows of cells")
    return n_before, lines
