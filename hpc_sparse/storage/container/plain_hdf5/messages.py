"""The messages that make up an object's header (HDF5 File Format Specification 3.0, IV.A.2).

Each function takes the fields of one message, all of them, and returns what the object consists of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py

from hpc_sparse.storage.container.plain_hdf5.blocks import UNDEFINED, Fields

DATASPACE, LINK_INFO, DATATYPE, FILL_VALUE, LINK, LAYOUT, GROUP_INFO, ATTRIBUTE, CONTINUATION, ATTRIBUTE_INFO = (
    *(0x01, 0x02, 0x03, 0x05, 0x06, 0x08, 0x0A, 0x0C, 0x10, 0x15),
)
"""Types of messages."""

IGNORED = 0x00
"""Type of a message that has been deleted."""

REFUSED_MESSAGES = {
    0x04: "a fill value of an old kind",
    0x07: "its bytes in other files (external storage)",
    0x09: "a bogus message",
    0x0B: "compression or another filter",
    0x0D: "a comment",
    0x0E: "a modification time of an old kind",
    0x0F: "a table of shared messages",
    0x11: "a symbol table",
    0x12: "a modification time",
    0x13: "sizes of B-trees",
    0x14: "a driver's information",
    0x16: "several links to it",
    0x17: "free space information",
}
"""Types of messages that no container has."""

REFUSED_LINKS = {1: "a soft link", 64: "an external link"}

LAYOUT_CLASSES = {0: "compactly in its header", 2: "in chunks", 3: "in other arrays (virtual)"}

FIXED_POINT, FLOATING_POINT, STRING = 0, 1, 3
"""Classes of datatypes."""

CLASS_NAMES = {
    2: "time",
    4: "bit field",
    5: "opaque",
    6: "compound",
    7: "reference",
    8: "enumeration",
    9: "of variable length",
    10: "array",
}

DATATYPE_VERSIONS = (1, 3)
MOST_DIMENSIONS = 32
LARGEST_MEMBER_NAME = 4096

_ENCODED_NUMBERS: dict[bytes, int] = {
    encoded[1:]: number_type.get_size()
    for number_type in (
        *(h5py.h5t.STD_I8LE, h5py.h5t.STD_I16LE, h5py.h5t.STD_I32LE, h5py.h5t.STD_I64LE),
        *(h5py.h5t.STD_U8LE, h5py.h5t.STD_U16LE, h5py.h5t.STD_U32LE, h5py.h5t.STD_U64LE),
        *(h5py.h5t.IEEE_F32LE, h5py.h5t.IEEE_F64LE),
    )
    # Two bytes that the library puts before the message.
    for encoded in (number_type.encode()[2:],)
}
"""Size by message, which is the same in every version but for its first byte."""


@dataclass(frozen=True)
class DenseStorage:
    """Addresses of links or attributes that are too many for the header; UNDEFINED if there are none."""

    heap: int
    index: int

    @property
    def is_used(self) -> bool:
        """Whether there is any."""
        return (self.heap, self.index) != (UNDEFINED, UNDEFINED)


def read_dataspace(fields: Fields) -> tuple[int, ...]:
    """The shape; () for a single element."""
    version, n_dimensions, flags, kind = fields.numbers("4B")
    if version != 2 or flags not in (0, 1) or (kind, n_dimensions > 0) not in ((0, False), (1, True)):
        fields.fail(f"dataspace {version} {n_dimensions} {flags} {kind}: expected one element or an array")
    if n_dimensions > MOST_DIMENSIONS:
        fields.fail(f"{n_dimensions} dimensions: expected at most {MOST_DIMENSIONS}")
    shape = fields.numbers(f"{n_dimensions}Q")
    if flags and (most := fields.numbers(f"{n_dimensions}Q")) != shape:
        fields.fail(f"shape {list(shape)} can grow to {list(most)}: expected a fixed one")
    fields.end()
    if shape and max(shape) > fields.blocks.n_bytes:
        fields.fail(f"shape {list(shape)}: expected no length above {fields.blocks.n_bytes}, the bytes of the file")
    return shape


def read_datatype(fields: Fields) -> int:
    """The bytes of an element."""
    first = fields.number(1)
    kind, version = first & 0x0F, first >> 4
    if kind not in (FIXED_POINT, FLOATING_POINT, STRING) or version not in DATATYPE_VERSIONS:
        fields.fail(
            f"elements of type {CLASS_NAMES.get(kind, kind)}: expected integers, floats or text of fixed length"
        )
    rest = fields.take(fields.n_left)
    if kind != STRING:
        if rest not in _ENCODED_NUMBERS or (_is_integer(rest) != (kind == FIXED_POINT)):
            fields.fail(f"elements of type {rest.hex()}: expected integers or floats as the processor has them")
        return _ENCODED_NUMBERS[rest]
    item_bytes = int.from_bytes(rest[3:], "little")
    if len(rest) != 7 or rest[0] & 0x0F > 2 or rest[0] >> 4 > 1 or rest[1:3] != b"\0\0" or not item_bytes:
        fields.fail(f"text of type {rest.hex()}: expected fixed length, ASCII or UTF-8")
    return item_bytes


def read_fill_value(fields: Fields) -> None:
    """Check of a fill value's message; the value itself does not matter."""
    version, flags = fields.numbers("2B")
    if version != 3 or flags & ~0x3F or (flags & 0x30) == 0x30 or 0x03 & flags == 0 or flags & 0x0C == 0x0C:
        fields.fail(f"fill value {version} {flags:#x}: expected version 3")
    if flags & 0x20:
        fields.take(fields.number(4))
    fields.end()


def read_layout(fields: Fields) -> tuple[int, int]:
    """Address and bytes of an array."""
    version, kind = fields.numbers("2B")
    if version not in (3, 4) or kind != 1:
        fields.fail(f"is stored {LAYOUT_CLASSES.get(kind, 'unusually')}: expected contiguously")
    address, n_bytes = fields.numbers("2Q")
    fields.end()
    return address, n_bytes


def read_link(fields: Fields) -> tuple[str, int]:
    """Name and address of a member of a group."""
    version, flags = fields.numbers("2B")
    if version != 1 or flags & ~0x1B:
        fields.fail(f"link {version} {flags:#x}: expected version 1")
    if flags & 0x08 and (kind := fields.number(1)) != 0:
        fields.fail(f"has {REFUSED_LINKS.get(kind, 'a link of unknown kind')}: expected hard links only")
    if flags & 0x10 and (charset := fields.number(1)) > 1:
        fields.fail(f"character set {charset}: expected ASCII or UTF-8")
    name = _name(fields, fields.number(1 << (flags & 0x03)))
    if "/" in name or name == ".":
        fields.fail(f"member {name!r}: expected a name")
    address = fields.number(8)
    fields.end()
    return name, address


def read_link_info(fields: Fields) -> DenseStorage:
    """Addresses of a group's links."""
    fields.expect("link information", b"\0\0")
    storage = DenseStorage(*fields.numbers("2Q"))
    fields.end()
    return storage


def read_attribute_info(fields: Fields) -> DenseStorage:
    """Addresses of an object's attributes."""
    fields.expect("attribute information", b"\0\0")
    storage = DenseStorage(*fields.numbers("2Q"))
    fields.end()
    return storage


def read_group_info(fields: Fields) -> None:
    """Settings of a group, which are the default ones."""
    fields.expect("group information", b"\0\0")
    fields.end()


def read_attribute(fields: Fields) -> str:
    """Name of an attribute, which is one plain element."""
    version, flags, name_bytes, datatype_bytes, dataspace_bytes, charset = fields.numbers("2B3HB")
    if version != 3 or flags or charset > 1:
        fields.fail(f"attribute {version} {flags:#x} {charset}: expected version 3 with nothing shared")
    content = fields.take(name_bytes)
    if content[-1:] != b"\0":
        fields.fail("name of an attribute does not end: expected a zero byte")
    name = _name(Fields(fields.blocks, fields.what, content), name_bytes - 1)
    what = f'{fields.what}: attribute "{name}"'
    item_bytes = read_datatype(Fields(fields.blocks, what, fields.take(datatype_bytes)))
    shape = read_dataspace(Fields(fields.blocks, what, fields.take(dataspace_bytes)))
    if shape or fields.n_left != item_bytes:
        fields.blocks.fail(what, f"{fields.n_left} bytes for shape {list(shape)}: expected a single number or text")
    return name


SINGLE_MESSAGES: dict[int, Callable[[Fields], Any]] = {
    LINK_INFO: read_link_info,
    ATTRIBUTE_INFO: read_attribute_info,
    GROUP_INFO: read_group_info,
    DATASPACE: read_dataspace,
    DATATYPE: read_datatype,
    FILL_VALUE: read_fill_value,
    LAYOUT: read_layout,
}
"""Readers of the messages that a header may have once, by type."""


def _name(fields: Fields, n_bytes: int) -> str:
    if not 0 < n_bytes <= LARGEST_MEMBER_NAME:
        fields.fail(f"name of {n_bytes} bytes: expected 1 to {LARGEST_MEMBER_NAME}")
    content = fields.take(n_bytes)
    try:
        name = content.decode()
    except UnicodeDecodeError:
        fields.fail(f"name {content[:40]!r}: expected UTF-8")
    if "\0" in name:
        fields.fail(f"name {content[:40]!r}: expected no zero bytes")
    return name


def _is_integer(rest: bytes) -> bool:
    """Whether a number's message is an integer's: it has a third of the fields of a float's."""
    return len(rest) == 11
