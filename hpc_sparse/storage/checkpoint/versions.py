"""Contents of a checkpoint of any format version."""

from __future__ import annotations

from hpc_sparse.storage.checkpoint import format_4, formats_1_to_3
from hpc_sparse.storage.checkpoint.contents import Contents
from hpc_sparse.storage.container.reader import ContainerReader

FIRST_BY_NAMES = 4
"""Version since which arrays, sums and kinds have names."""


def read_contents(reader: ContainerReader) -> Contents:
    """Contents of an open checkpoint (collective)."""
    version = reader.integer("/", "format_version", minimum=1)
    if version < FIRST_BY_NAMES:
        return formats_1_to_3.read_contents(reader, version)
    return format_4.read_contents(reader)
