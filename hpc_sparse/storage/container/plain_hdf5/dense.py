"""Links and attributes that are too many for a header: a fractal heap with an index of its objects by name.

HDF5 File Format Specification 3.0, III.A.2 (version 2 B-trees) and III.G (fractal heaps). The library makes heaps
and indices with the same settings always, which are the only ones let through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpc_sparse.storage.container.plain_hdf5.blocks import CHECKSUM_BYTES, UNDEFINED, Blocks, Fields
from hpc_sparse.storage.container.plain_hdf5.messages import DenseStorage

NODE_BYTES = 512
NODE_OVERHEAD = 10
SPLIT_PERCENT, MERGE_PERCENT = 100, 40
DEEPEST_INDEX = 4
"""Levels of an index; four have room for a million objects."""

TABLE_WIDTH = 4
LARGEST_DIRECT_BLOCK = 64 * 1024
LARGEST_OBJECT = 4096
CHECKSUMS_IN_BLOCKS = 0x02
HUGE_IDS_WRAPPED = 0x01
ID_IN_BLOCK, ID_IN_FILE = 0x00, 0x10
"""First byte of a heap ID: the object is in a block of the heap, or has a place of its own."""

HUGE_OBJECT_RECORD = (1, 24)
"""B-tree type and record size of the index of objects that have a place of their own."""


@dataclass(frozen=True)
class Kind:
    """The library's settings for links, or for attributes."""

    id_bytes: int
    offset_bits: int
    first_block: int
    record_type: int
    record_bytes: int
    id_position: int
    """Position of the heap ID in a record of the index."""


LINKS = Kind(id_bytes=7, offset_bits=32, first_block=512, record_type=5, record_bytes=11, id_position=4)
ATTRIBUTES = Kind(id_bytes=8, offset_bits=40, first_block=1024, record_type=8, record_bytes=17, id_position=0)


def dense_objects(blocks: Blocks, what: str, storage: DenseStorage, kind: Kind) -> Iterator[Fields]:
    """The messages in dense storage, each of which the index must name once."""
    heap = _Heap(blocks, f"{what}: heap", storage.heap, kind)
    for record in index_records(blocks, f"{what}: index", storage.index, (kind.record_type, kind.record_bytes)):
        heap_id = record[kind.id_position : kind.id_position + kind.id_bytes]
        yield Fields(blocks, what, heap.object(heap_id))


def index_records(blocks: Blocks, what: str, address: int, record: tuple[int, int]) -> list[bytes]:
    """All records of a version 2 B-tree of the given type and record size."""
    header = blocks.block(what, b"BTHD", address, 38)
    found = header.numbers("BIHHBB")
    record_type, record_bytes = record
    depth = found[3]
    if found != (record_type, NODE_BYTES, record_bytes, depth, SPLIT_PERCENT, MERGE_PERCENT) or depth > DEEPEST_INDEX:
        header.fail(f"settings {found}: expected those of the library")
    root, n_in_root, n_records = header.numbers("QHQ")
    if not n_records:
        return []
    records = _Index(blocks, what, record_type, record_bytes).node_records(root, n_in_root, depth)
    if len(records) != n_records:
        header.fail(f"{len(records)} records: expected {n_records}")
    return records


class _Index:
    """The nodes of a B-tree."""

    def __init__(self, blocks: Blocks, what: str, record_type: int, record_bytes: int) -> None:
        self._blocks, self._what = blocks, what
        self._type, self._record_bytes = record_type, record_bytes
        in_leaf = (NODE_BYTES - NODE_OVERHEAD) // record_bytes
        self._count_bytes = _bytes_for(in_leaf)
        self._most, self._most_below = [in_leaf], [in_leaf]
        for depth in range(1, DEEPEST_INDEX + 1):
            pointer = 8 + self._count_bytes + self._total_bytes(depth)
            most = (NODE_BYTES - NODE_OVERHEAD - pointer) // (record_bytes + pointer)
            self._most.append(most)
            self._most_below.append((most + 1) * self._most_below[-1] + most)

    def node_records(self, address: int, n_records: int, depth: int) -> list[bytes]:
        """The records of a node and of those below it."""
        if not 0 < n_records <= self._most[depth]:
            self._blocks.fail(self._what, f"{n_records} records in a node: expected 1 to {self._most[depth]}")
        node = self._blocks.block(
            self._what, b"BTIN" if depth else b"BTLF", address, self._used_bytes(n_records, depth)
        )
        # The checksum follows what is used; the rest of the node belongs to it too.
        rest = NODE_BYTES - self._used_bytes(n_records, depth)
        self._blocks.take(self._what, address + NODE_BYTES - rest, rest)
        if node.number(1) != self._type:
            node.fail(f"a node of another type: expected {self._type}")
        records = [node.take(self._record_bytes) for _ in range(n_records)]
        if depth:
            below = [self._pointer(node, depth) for _ in range(n_records + 1)]
            for child, n_in_child, n_below in below:
                found = self.node_records(child, n_in_child, depth - 1)
                if depth > 1 and len(found) != n_below:
                    node.fail(f"{len(found)} records below a node: expected {n_below}")
                records += found
        node.end()
        return records

    def _used_bytes(self, n_records: int, depth: int) -> int:
        pointer = 8 + self._count_bytes + self._total_bytes(depth) if depth else 0
        return NODE_OVERHEAD + n_records * self._record_bytes + (n_records + (depth > 0)) * pointer

    def _total_bytes(self, depth: int) -> int:
        """Bytes of the number of records below a child of a node at ``depth``."""
        return _bytes_for(self._most_below[depth - 1]) if depth > 1 else 0

    def _pointer(self, node: Fields, depth: int) -> tuple[int, int, int]:
        return node.number(8), node.number(self._count_bytes), node.number(self._total_bytes(depth))


class _Heap:
    """The blocks of a fractal heap, and the objects in them."""

    def __init__(self, blocks: Blocks, what: str, address: int, kind: Kind) -> None:
        self._blocks, self._what, self._address, self._kind = blocks, what, address, kind
        self._offset_bytes = kind.offset_bits // 8
        self._block_overhead = 5 + 8 + self._offset_bytes + CHECKSUM_BYTES
        self._contents: list[tuple[int, bytes]] = []
        self._taken: set[int] = set()
        header = blocks.block(what, b"FRHP", address, 146)
        settings = header.numbers("HHBI")
        if settings[:2] != (kind.id_bytes, 0) or settings[2] & ~HUGE_IDS_WRAPPED != CHECKSUMS_IN_BLOCKS:
            header.fail(f"settings {settings}: expected those of the library")
        if settings[3] != LARGEST_OBJECT:
            header.fail(f"objects of {settings[3]} bytes: expected {LARGEST_OBJECT}")
        _, huge_index = header.numbers("QQ")
        header.take(10 * 8)  # Free space and counts, which only a writer needs.
        table = header.numbers("HQQHH")
        if table != (TABLE_WIDTH, kind.first_block, LARGEST_DIRECT_BLOCK, kind.offset_bits, 1):
            header.fail(f"table {table}: expected that of the library")
        root, n_rows = header.numbers("QH")
        header.end()
        self._read_blocks(root, n_rows)
        self._huge = self._read_huge(huge_index)

    def object(self, heap_id: bytes) -> bytes:
        """The bytes of an object, which is asked for once."""
        if heap_id[0] == ID_IN_FILE:
            number = int.from_bytes(heap_id[1:], "little")
            if number not in self._huge:
                self._blocks.fail(self._what, f"object {number}: expected one that is there")
            return self._blocks.read(self._what, *self._huge.pop(number))
        if heap_id[0] != ID_IN_BLOCK:
            self._blocks.fail(self._what, f"object {heap_id.hex()}: expected one of a usual size")
        return self._object_in_block(heap_id)

    def _object_in_block(self, heap_id: bytes) -> bytes:
        offset = int.from_bytes(heap_id[1 : 1 + self._offset_bytes], "little")
        n_bytes = int.from_bytes(heap_id[1 + self._offset_bytes :], "little")
        for start, content in self._contents:
            first = offset - start - self._block_overhead
            if first >= 0 and 0 < n_bytes <= len(content) - first:
                if offset in self._taken:
                    break
                self._taken.add(offset)
                return content[first : first + n_bytes]
        return self._blocks.fail(self._what, f"object at {offset}: expected one that is there, named once")

    def _read_blocks(self, root: int, n_rows: int) -> None:
        if root == UNDEFINED:
            return
        if n_rows == 0:
            self._read_direct(root, 0, self._kind.first_block)
            return
        sizes = [first := self._kind.first_block]
        while len(sizes) < n_rows and sizes[-1] < LARGEST_DIRECT_BLOCK:
            sizes.append(first << len(sizes) - 1)
        if len(sizes) < n_rows:
            self._blocks.fail(self._what, f"{n_rows} rows of blocks: expected at most {len(sizes)}")
        n_bytes = self._block_overhead + 8 * TABLE_WIDTH * n_rows
        table = self._blocks.block(self._what, b"FHIB", root, n_bytes)
        self._expect_place(table, 0)
        offset = 0
        for size in sizes:
            for _ in range(TABLE_WIDTH):
                if (address := table.number(8)) != UNDEFINED:
                    self._read_direct(address, offset, size)
                offset += size
        table.end()

    def _read_direct(self, address: int, offset: int, n_bytes: int) -> None:
        block = Fields(self._blocks, self._what, self._blocks.read(self._what, address, n_bytes))
        block.expect("block", b"FHDB\0")
        self._expect_place(block, offset)
        block.take(CHECKSUM_BYTES)
        self._contents.append((offset, block.take(block.n_left)))

    def _expect_place(self, block: Fields, offset: int) -> None:
        block.expect("address of the heap", self._address.to_bytes(8, "little"))
        block.expect("place in the heap", offset.to_bytes(self._offset_bytes, "little"))

    def _read_huge(self, address: int) -> dict[int, tuple[int, int]]:
        if address == UNDEFINED:
            return {}
        records = index_records(self._blocks, f"{self._what} of large objects", address, HUGE_OBJECT_RECORD)
        places = (tuple(int.from_bytes(record[at : at + 8], "little") for at in (0, 8, 16)) for record in records)
        return {number: (start, n_bytes) for start, n_bytes, number in places}


def _bytes_for(number: int) -> int:
    return (number.bit_length() + 7) // 8
