"""Connections of which some act and others only learn: the forward and the backward set of Top-KAST.

Signals pass through the connections of largest |weight|; all get gradients and change. So a connection that does not
act grows by what it could contribute until it is among the largest. Which ones act follows from the weights alone:
there is nothing to store, to send or to resume (Jayakumar et al. 2020, arXiv 2106.03517).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.kernels.sparse.selection import keep_from
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.protocol import Epilogue, Gate
from hpc_sparse.network.connections.state import ConnectionState
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.sinks import MapSink
from hpc_sparse.network.tiles import Tiles

ALL_ACT = 1.0
"""The share in connections of every other kind."""


@dataclass
class Reserve(Csr):
    """Unstructured connections of which the share with the largest weights acts.

    Attributes
    ----------
    acting_share : float
        Share of the connections that signals pass through, in either direction.
    """

    kind: ClassVar[str] = "reserve"
    acting_share: float = 1.0
    _acting: Float32Array | None = field(default=None, init=False, repr=False, compare=False)

    def multipliers(self) -> Float32Array:
        """float32[nnz]: the weights, 0 for connections that do not act."""
        self._acting = acting_weight(self.weight, self.acting_share)
        return self._acting

    def multipliers_of_last_product(self) -> Float32Array:
        """float32[nnz]: those of the last forward pass; nothing has changed the weights since."""
        return self.multipliers() if self._acting is None else self._acting

    def product(self, source: Tiles, epilogue: Epilogue, out: Tiles) -> None:
        """``out = epilogue(W source)``."""
        super().product(source, epilogue, out)
        if epilogue.dropout is None:
            self._acting = None  # no backward pass follows

    def gradient(self, delta: Tiles, source: Tiles, sink: MapSink) -> None:
        """The gradients of all weights, acting or not."""
        super().gradient(delta, source, sink)
        self._acting = None

    def transposed_and_gradient(
        self, delta: Tiles, source: Tiles, gate: Gate | None, sink: MapSink, out: Tiles
    ) -> None:
        """Deltas through the connections that act, and the gradients of all."""
        super().transposed_and_gradient(delta, source, gate, sink, out)
        self._acting = None

    def rewired(self, topology: Topology, weight: Float32Array) -> Reserve:
        """Connections with another topology."""
        return Reserve(topology, weight, self.acting_share)

    def acting(self) -> Csr:
        """Connections that all act: 0 stands for those that do not."""
        return Csr(self.topology, self.multipliers().copy())

    def state(self) -> ConnectionState:
        """As :class:`Csr`; the share is in the configuration."""
        return replace(super().state(), kind=self.kind)


def n_acting(n_connections: int, share: float) -> int:
    """Connections of a layer that act: at least one, if there is one."""
    return min(n_connections, max(1, round(share * n_connections)))


def acting_weight(weight: Float32Array, share: float) -> Float32Array:
    """What signals are multiplied by: the weights, 0 for those that do not act; ``weight`` itself if all act.

    Work O(n), by selection, in one thread; memory 8 bytes per connection for a while.

    Parameters
    ----------
    weight : float32[n]
    share : float
        Of the connections, the largest |weights|, and those equal to the smallest of them.

    Returns
    -------
    float32[n]
    """
    n_others = weight.size - n_acting(weight.size, share)
    if not n_others:
        return weight
    size = np.abs(weight)
    # As numbers, the bits of floats that are not negative are in the same order, and half as dear to compare.
    limit = np.partition(size.view(np.uint32), n_others)[n_others].view(VALUE)
    keep_from(weight, limit, size)
    return size
