"""The superblock, and all objects of a file from the root on (HDF5 File Format Specification 3.0, II.A and IV.A)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpc_sparse.errors import FileFormatError
from hpc_sparse.storage.container.identity import FileIdentity
from hpc_sparse.storage.container.plain_hdf5 import messages
from hpc_sparse.storage.container.plain_hdf5.blocks import CHECKSUM_BYTES, UNDEFINED, Blocks, Fields
from hpc_sparse.storage.container.plain_hdf5.dense import ATTRIBUTES, LINKS, dense_objects

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK_BYTES = 48
SUPERBLOCK_VERSION = 3

SIZE_WIDTH, ORDER_TRACKED, ORDER_INDEXED, LIMITS_STORED, TIMES_STORED = 0x03, 0x04, 0x08, 0x10, 0x20
"""Flags of an object's header."""

UNSHARED_FLAGS = 0x01 | 0x04
"""Flags that a message may have: it never changes, it is not to be shared."""

ARRAY_MESSAGES = (messages.DATASPACE, messages.DATATYPE, messages.LAYOUT)

MOST_CONTINUATIONS = 10_000
DEEPEST_GROUP = 8


@dataclass
class _Object:
    """Content of a header's messages, by type, and the names of its members and attributes."""

    what: str
    single: dict[int, Any] = field(default_factory=dict)
    members: dict[str, int] = field(default_factory=dict)
    attribute_names: set[str] = field(default_factory=set)


def check_plain(path: Path) -> FileIdentity:
    """The identity of a plain HDF5 file, of which the structure was read and not the arrays; nothing else opened it.

    Raises
    ------
    FileFormatError
        The file is foreign, damaged, cut off, or holds what no container does.
    """
    with path.open("rb") as file:
        identity = FileIdentity.of(os.fstat(file.fileno()))
        blocks = Blocks(path, file)
        _check_object(blocks, "/", _root_address(blocks), depth=0)
    return identity


def _root_address(blocks: Blocks) -> int:
    start = blocks.read("the file", 0, min(SUPERBLOCK_BYTES, blocks.n_bytes))
    if start[:8] != SIGNATURE[: len(start)] or not start:
        raise FileFormatError(f"{blocks.path}: is not an HDF5 file ({blocks.n_bytes} bytes)")
    fields = Fields(blocks, "superblock", start[8:])
    if (version := fields.number(1)) != SUPERBLOCK_VERSION:
        fields.fail(f"version {version}: expected {SUPERBLOCK_VERSION}: not a file of hpc_sparse")
    fields.expect("sizes of addresses and lengths", b"\x08\x08")
    fields.expect("flags (0: closed by its writer)", b"\0")
    fields.expect("base address", bytes(8))
    fields.expect("address of an extension", UNDEFINED.to_bytes(8, "little"))
    n_bytes, root = fields.numbers("2Q")
    if n_bytes > blocks.n_bytes:
        fields.fail(f"{n_bytes} bytes: the file has {blocks.n_bytes}: truncated")
    return root


def _check_object(blocks: Blocks, what: str, address: int, depth: int) -> None:
    found = _read_object(blocks, what, address)
    has_array_parts = [kind in found.single for kind in ARRAY_MESSAGES]
    is_array = all(has_array_parts)
    if is_array == (messages.LINK_INFO in found.single) or any(has_array_parts) != is_array:
        blocks.fail(what, "is neither a group nor a complete array")
    if is_array:
        _check_array(blocks, found)
    if depth == DEEPEST_GROUP and found.members:
        blocks.fail(what, f"groups in groups: expected at most {DEEPEST_GROUP}")
    for name, member in found.members.items():
        _check_object(blocks, f"{what.rstrip('/')}/{name}".lstrip("/"), member, depth + 1)


def _check_array(blocks: Blocks, found: _Object) -> None:
    """Check that the array has a place of its own, as large as its shape needs; one never written has none."""
    shape, item_bytes, (address, n_stored) = (found.single[kind] for kind in ARRAY_MESSAGES)
    n_stored = 0 if address == UNDEFINED else n_stored
    n_bytes = math.prod(shape) * item_bytes
    if not shape or n_stored != n_bytes or found.members:
        blocks.fail(found.what, f"holds {n_stored} bytes: expected {n_bytes} for {list(shape)}, an array")
    if n_bytes:
        blocks.take(found.what, address, n_bytes)


def _read_object(blocks: Blocks, what: str, address: int) -> _Object:
    found = _Object(what)
    for kind, fields in _header_messages(blocks, what, address):
        _take_in(found, kind, fields)
    for kind, settings, add in (
        (messages.LINK_INFO, LINKS, _add_link),
        (messages.ATTRIBUTE_INFO, ATTRIBUTES, _add_attribute),
    ):
        if (storage := found.single.get(kind)) is not None and storage.is_used:
            for fields in dense_objects(blocks, what, storage, settings):
                add(found, fields)
    return found


def _take_in(found: _Object, kind: int, fields: Fields) -> None:
    """Note what one message says of an object."""
    if kind == messages.LINK:
        _add_link(found, fields)
    elif kind == messages.ATTRIBUTE:
        _add_attribute(found, fields)
    elif kind not in messages.SINGLE_MESSAGES:
        fields.fail(f"has {messages.REFUSED_MESSAGES.get(kind, f'a message of type {kind:#x}')}: expected plain arrays")
    elif kind in found.single:
        fields.fail(f"two messages of type {kind:#x}: expected one")
    else:
        found.single[kind] = messages.SINGLE_MESSAGES[kind](fields)


def _add_link(found: _Object, fields: Fields) -> None:
    name, address = messages.read_link(fields)
    if name in found.members:
        fields.fail(f"two members {name}: expected one")
    found.members[name] = address


def _add_attribute(found: _Object, fields: Fields) -> None:
    name = messages.read_attribute(fields)
    if name in found.attribute_names:
        fields.fail(f"two attributes {name}: expected one")
    found.attribute_names.add(name)


def _header_messages(blocks: Blocks, what: str, address: int) -> Iterator[tuple[int, Fields]]:
    """Type and fields of each message in an object's header and its continuations."""
    start = Fields(blocks, what, blocks.read(what, address, 6))
    start.expect("header", b"OHDR\x02")
    flags = start.number(1)
    if flags & (0xC0 | ORDER_TRACKED | ORDER_INDEXED | LIMITS_STORED):
        start.fail(f"header with flags {flags:#x}: expected no order of creation or limits")
    width = (16 if flags & TIMES_STORED else 0) + (1 << (flags & SIZE_WIDTH))
    sizes = Fields(blocks, what, blocks.read(what, address + 6, width))
    sizes.take(width - (1 << (flags & SIZE_WIDTH)))
    chunk = blocks.read(what, address + 6 + width, sizes.number(sizes.n_left) + CHECKSUM_BYTES)
    chunks = [chunk[:-CHECKSUM_BYTES]]
    for n_chunks in range(MOST_CONTINUATIONS):
        if n_chunks == len(chunks):
            return
        fields = Fields(blocks, what, chunks[n_chunks])
        while fields.n_left >= 4:
            kind, n_bytes, message_flags = fields.numbers("BHB")
            message = Fields(blocks, what, fields.take(n_bytes))
            if message_flags & ~UNSHARED_FLAGS:
                fields.fail(f"message of type {kind:#x} with flags {message_flags:#x}: expected it unshared")
            if kind == messages.CONTINUATION:
                chunks.append(_continuation(blocks, what, message))
            elif kind != messages.IGNORED:
                yield kind, message
    blocks.fail(what, f"a header in more than {MOST_CONTINUATIONS} parts")


def _continuation(blocks: Blocks, what: str, message: Fields) -> bytes:
    address, n_bytes = message.numbers("2Q")
    message.end()
    content = blocks.read(what, address, n_bytes)
    if content[:4] != b"OCHK" or n_bytes < 4 + CHECKSUM_BYTES:
        blocks.fail(what, f"{content[:4]!r}: expected a header's continuation (OCHK)")
    return content[4:-CHECKSUM_BYTES]
