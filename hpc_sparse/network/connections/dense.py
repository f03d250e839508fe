"""Dense connections: every pair of neurons is connected, as in most output layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpc_sparse.dtypes import Float32Array
from hpc_sparse.errors import FileFormatError
from hpc_sparse.kernels.sparse.dense import forward_dense
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.protocol import Epilogue
from hpc_sparse.network.connections.state import ConnectionState
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.tiles import Tiles

if TYPE_CHECKING:
    from hpc_sparse.config import LayerSection


@dataclass
class Dense(Csr):
    """Connections between all pairs of neurons; products without dropout go tile by tile, to the bits of :class:`Csr`.

    The structure is stored all the same: connections may go, and what is left is then a :class:`Csr`.
    """

    kind: ClassVar[str] = "dense"

    @classmethod
    def density_of(cls, section: LayerSection, n_in: int) -> float:  # noqa: ARG003
        """1: all connections exist."""
        return 1.0

    def __post_init__(self) -> None:
        assert is_complete(self.topology), (self.topology.shape, self.topology.n_connections)

    def product(self, source: Tiles, epilogue: Epilogue, out: Tiles) -> None:
        """``out = epilogue(W source)``."""
        if epilogue.dropout is None:
            forward_dense(self.weight, epilogue.bias, source.values, epilogue.slope, source.layout, out.values)
        else:
            super().product(source, epilogue, out)

    def rewired(self, topology: Topology, weight: Float32Array) -> Csr:
        """Connections with another topology; of the kind :class:`Csr` where some pairs are not connected."""
        return (Dense if is_complete(topology) else Csr)(topology, weight)

    @classmethod
    def check_state(cls, where: str, state: ConnectionState) -> None:
        """Check that all pairs of neurons are connected."""
        super().check_state(where, state)
        n_out, n_in = state.shape
        if state.n_units != n_out * n_in:
            raise FileFormatError(f"{where}: {state.n_units} dense connections: expected {n_out * n_in}, all there are")


def is_complete(topology: Topology) -> bool:
    """Whether every pair of neurons is connected."""
    return topology.n_connections == topology.n_possible
