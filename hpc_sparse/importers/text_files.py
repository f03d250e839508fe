"""Text files, plain or compressed, read line by line."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hpc_sparse.errors import DataError, quoted
from hpc_sparse.importers.encodings import as_utf8, found_encoding

LONGEST_REASON = 200

READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)


@contextmanager
def opened_text(path: Path, encoding: str | None = None) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The file's text as uncompressed UTF-8, and the file itself, whose position tells how far that is.

    Parameters
    ----------
    path : Path
    encoding : str, optional
        What the text is written in; by default what a byte-order mark says, else UTF-8.

    Raises
    ------
    DataError
        The file is missing or damaged, or of another encoding.
    """
    try:
        with path.open("rb") as file, _uncompressed(path, file) as text:
            yield as_utf8(path, text, encoding), file
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from error


def file_size(path: Path) -> int:
    """Bytes of a file (DataError)."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Short reason of an error, without the name of the file."""
    return quoted(error.strerror if isinstance(error, OSError) and error.strerror else str(error), LONGEST_REASON)


def find_encoding(path: Path, encoding: str | None = None) -> str | None:
    """Python's name of the encoding that is given, else what the first bytes look like, None if UTF-8 (DataError)."""
    try:
        with path.open("rb") as file, _uncompressed(path, file) as text:
            return found_encoding(path, text, encoding)
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from error


def line_of_row(path: Path, row: int, n_skipped: int = 0, encoding: str | None = None) -> int:
    """Number (from 1) of the ``row``-th line that counts: of the first ``n_skipped`` all do, then those not empty."""
    with opened_text(path, encoding) as (text, _):
        n_rows = 0
        for number, line in enumerate(text, start=1):
            n_rows += number <= n_skipped or bool(line.strip(b"\r\n"))
            if n_rows == row:
                return number
    return row


def _uncompressed(path: Path, file: IO[bytes]) -> Any:
    if path.suffix == ".gz":
        return gzip.open(file, "rb")
    if path.suffix == ".bz2":
        return bz2.open(file, "rb")
    if path.suffix == ".xz":
        return lzma.open(file, "rb")
    return file
