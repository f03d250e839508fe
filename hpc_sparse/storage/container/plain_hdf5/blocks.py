"""The bytes of a file by address: each belongs to one block at most."""

from __future__ import annotations

import bisect
import os
import struct
from pathlib import Path
from typing import BinaryIO, NoReturn

from hpc_sparse.errors import FileFormatError, quoted

UNDEFINED = 2**64 - 1
"""The address of what does not exist."""

MOST_METADATA = 64 * 1024 * 1024
"""Most bytes of structure that are read; a network of 1,000 layers has 5 MB."""

CHECKSUM_BYTES = 4


class Blocks:
    """A file, of which each block is taken once."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self.n_bytes = os.fstat(file.fileno()).st_size
        self._taken: list[tuple[int, int]] = []
        self._n_metadata = 0

    def fail(self, what: str, problem: str) -> NoReturn:
        """Raise the error that names the file and the place in it."""
        raise FileFormatError(f"{self.path}: {quoted(what)}: {problem}")

    def take(self, what: str, address: int, n_bytes: int) -> None:
        """Make sure that a block lies in the file and over no other one."""
        if address + n_bytes > self.n_bytes:
            self.fail(
                what,
                f"{n_bytes} bytes at {address}: expected to end within the file's {self.n_bytes} bytes: "
                "truncated or damaged",
            )
        if n_bytes == 0:
            return
        position = bisect.bisect(self._taken, (address, address + n_bytes))
        before = self._taken[position - 1][1] if position else 0
        after = self._taken[position][0] if position < len(self._taken) else UNDEFINED
        if before > address or after < address + n_bytes:
            self.fail(what, f"{n_bytes} bytes at {address}: overlap something else: expected a place of their own")
        self._taken.insert(position, (address, address + n_bytes))

    def read(self, what: str, address: int, n_bytes: int) -> bytes:
        """Take a block of structure and read it."""
        self.take(what, address, n_bytes)
        self._n_metadata += n_bytes
        if self._n_metadata > MOST_METADATA:
            self.fail(what, f"more than {MOST_METADATA} bytes of structure: expected a file of fewer parts")
        self._file.seek(address)
        return self._file.read(n_bytes)

    def block(self, what: str, signature: bytes, address: int, n_bytes: int) -> Fields:
        """Take a block that begins with a signature and a version 0, and ends with a checksum: what is between."""
        content = self.read(what, address, n_bytes)
        if content[:5] != signature + b"\0":
            self.fail(what, f"{content[:5]!r} at {address}: expected {signature.decode()} of version 0")
        return Fields(self, what, content[5:-CHECKSUM_BYTES])


class Fields:
    """The fields of a block, one after the other."""

    def __init__(self, blocks: Blocks, what: str, content: bytes) -> None:
        self.blocks = blocks
        self.what = what
        self._content = content
        self._position = 0

    @property
    def n_left(self) -> int:
        """Bytes not yet taken."""
        return len(self._content) - self._position

    def fail(self, problem: str) -> NoReturn:
        """Raise the error that names the file and the block."""
        self.blocks.fail(self.what, problem)

    def take(self, n_bytes: int) -> bytes:
        """The next bytes, which must be there."""
        if n_bytes > self.n_left:
            self.fail(f"{n_bytes} bytes wanted: expected at most {self.n_left}, what is left of the block")
        start, self._position = self._position, self._position + n_bytes
        return self._content[start : self._position]

    def number(self, n_bytes: int) -> int:
        """The next bytes as an unsigned integer."""
        return int.from_bytes(self.take(n_bytes), "little")

    def numbers(self, layout: str) -> tuple[int, ...]:
        """The next fields by their codes of :mod:`struct`."""
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def expect(self, name: str, expected: bytes) -> None:
        """The next bytes, which must be these."""
        if (found := self.take(len(expected))) != expected:
            self.fail(f"{name} = {found.hex()}: expected {expected.hex()}")

    def end(self) -> None:
        """Make sure that nothing is left."""
        if self.n_left:
            self.fail(f"{self.n_left} bytes too many: expected nothing more")
