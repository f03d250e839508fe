"""Encodings of text files: whatever a file is written in, readers get UTF-8 without a byte-order mark."""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import IO, Any

from hpc_sparse.errors import DataError, quoted

PIECE_BYTES = 64 * 1024
HEAD_BYTES = 64
"""What a guess looks at."""

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as the mark of UTF-16 does, and so stands before it
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte-order marks, and Python's encodings that begin with one."""


def as_utf8(path: Path, text: Any, encoding: str | None) -> IO[bytes]:
    """A stream of UTF-8 without a byte-order mark.

    Parameters
    ----------
    path : Path
        For messages.
    text : buffered binary stream
        At the beginning.
    encoding : str or None
        None: what a byte-order mark says, else UTF-8.

    Raises
    ------
    DataError
        The encoding is unknown, or a mark says another one; later, when bytes are read that are no such text.
    """
    mark = _mark(_head(text))
    found = MARKS[mark] if mark else "utf-8"
    if encoding is not None:
        name = checked_encoding(str(path), encoding)
        if mark and not name.startswith(found.removesuffix("-sig")):
            raise DataError(f'{path}: encoding = "{encoding}": begins with the byte-order mark of {found[:6].upper()}')
        found = found if mark else name
    if found in {"utf-8", "utf-8-sig"}:
        text.read(len(mark))
        plain: IO[bytes] = text
        return plain
    return io.BufferedReader(_Recoded(path, text, found), PIECE_BYTES)


def checked_encoding(where: str, encoding: str) -> str:
    """Python's name of an encoding of text (DataError)."""
    try:
        found = codecs.lookup(encoding)
    except (LookupError, ValueError):  # of a name with a zero byte
        found = None
    # Compression and the like are codecs, too.
    if found is None or not getattr(found, "_is_text_encoding", True):
        raise DataError(
            f'{where}: encoding = "{quoted(encoding, 40)}": unknown: expected one such as utf-8, utf-16, cp1252'
        )
    return found.name


def found_encoding(path: Path, text: Any, encoding: str | None) -> str | None:
    """The encoding that is given, else the one that the first bytes say or look like; None if that is UTF-8."""
    if encoding is not None:
        return checked_encoding(str(path), encoding)
    mark = _mark(_head(text))
    name = MARKS[mark] if mark else _guessed(text) or "utf-8"
    return None if name in {"utf-8", "utf-8-sig"} else name


def _guessed(text: Any) -> str | None:
    """UTF-16 without a byte-order mark, by the zeros between the letters; None for all else."""
    head = _head(text)
    pairs = len(head) // 2 * 2
    if pairs < 4:
        return None
    if not any(head[1:pairs:2]) and all(head[0:pairs:2]):
        return "utf-16-le"
    if not any(head[0:pairs:2]) and all(head[1:pairs:2]):
        return "utf-16-be"
    return None


class _Recoded(io.RawIOBase):
    """The bytes of a text as UTF-8, of any size."""

    def __init__(self, path: Path, text: IO[bytes], encoding: str) -> None:
        self._path, self._text, self._encoding = path, text, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._left, self._is_done, self._n_read = b"", False, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        while not self._left and not self._is_done:
            piece = self._text.read(PIECE_BYTES)
            self._is_done = not piece
            self._left = self._decoded(piece)
            self._n_read += len(piece)
        n = min(len(view), len(self._left))
        view[:n], self._left = self._left[:n], self._left[n:]
        return n

    def _decoded(self, piece: bytes) -> bytes:
        try:
            return self._decoder.decode(piece, final=not piece).encode()
        except UnicodeError as error:
            start = self._n_read + getattr(error, "start", 0)
            raise DataError(
                f"{self._path}: is not {self._encoding.upper()} text: "
                f"{quoted(getattr(error, 'reason', str(error)), 60)} near byte {start}: "
                "name another encoding with --encoding"
            ) from None


def _head(text: Any) -> bytes:
    head: bytes = text.peek(HEAD_BYTES)[:HEAD_BYTES]
    return head


def _mark(head: bytes) -> bytes:
    return next((mark for mark in MARKS if head.startswith(mark)), b"")
