"""The checksums of HDF5's structure, put right after a change, as one would who wants to deceive the library.

Jenkins' lookup3 hash (public domain) of each block, by the HDF5 File Format Specification 3.0.
"""

from __future__ import annotations

import struct
from functools import lru_cache

SIGNATURES = (b"OHDR", b"OCHK", b"FRHP", b"FHIB", b"BTHD", b"BTLF", b"BTIN")
"""Blocks that end with their checksum."""

LARGEST_BLOCK = 4096
SUPERBLOCK = (0, 44)
MASK = 0xFFFFFFFF


@lru_cache
def checked_blocks(content: bytes) -> list[tuple[int, int]]:
    """Positions of the blocks with checksums, and of their checksums."""
    found = [SUPERBLOCK]
    for signature in SIGNATURES:
        start = content.find(signature)
        while start >= 0:
            last = min(len(content) - 4, start + LARGEST_BLOCK)
            ends = (end for end in range(start + 8, last + 1) if _stored(content, end) == lookup3(content[start:end]))
            if (end := next(ends, None)) is not None:
                found.append((start, end))
            start = content.find(signature, start + 4)
    return found


def put_right(content: bytearray, block: tuple[int, int]) -> None:
    """Make the checksum of a block that of what the block holds now."""
    start, end = block
    struct.pack_into("<I", content, end, lookup3(bytes(content[start:end])))


def lookup3(data: bytes) -> int:
    """Jenkins' hash of some bytes."""
    a = b = c = (0xDEADBEEF + len(data)) & MASK
    start = 0
    while len(data) - start > 12:
        a, b, c = _mixed(*_added(a, b, c, data[start : start + 12]))
        start += 12
    return _finished(*_added(a, b, c, data[start:])) if start < len(data) else c


def _stored(content: bytes, position: int) -> int:
    return int.from_bytes(content[position : position + 4], "little")


def _added(a: int, b: int, c: int, data: bytes) -> tuple[int, int, int]:
    x, y, z = struct.unpack("<III", data.ljust(12, b"\0"))
    return (a + x) & MASK, (b + y) & MASK, (c + z) & MASK


def _rotated(x: int, n: int) -> int:
    return ((x << n) | (x >> (32 - n))) & MASK


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for n in (4, 6, 8, 16, 19, 4):
        a, c = ((a - c) & MASK) ^ _rotated(c, n), (c + b) & MASK
        a, b, c = b, c, a
    return a, b, c


def _finished(a: int, b: int, c: int) -> int:
    for n in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotated(b, n)) & MASK
        a, b, c = b, c, a
    return b
