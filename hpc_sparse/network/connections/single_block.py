"""Blocks of one weight: unstructured connections, to the bit, under the name of block-sparse ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.state import ConnectionState

SETTINGS = ("rows", "columns")
"""Names of the sides of a block in a file."""


@dataclass
class SingleBlock(Csr):
    """Connections in blocks of 1 x 1, with the kernels of :class:`Csr`."""

    kind: ClassVar[str] = "block"

    def state(self) -> ConnectionState:
        """As :class:`Csr`, with the sides of a block."""
        return replace(super().state(), kind=self.kind, settings=dict.fromkeys(SETTINGS, 1))
