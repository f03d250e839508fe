"""What every evolution strategy offers, and what it gets to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from hpc_sparse.dtypes import Float32Array
from hpc_sparse.network.connections.reserve import ALL_ACT
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.layer_signals import Signals


@dataclass(frozen=True)
class LayerView:
    """A layer that is to evolve. Nothing in it may be changed.

    Attributes
    ----------
    topology : Topology
    weight : float32[nnz]
    velocity : float32[nnz]
        Of the weights.
    n_target : int
        Connections that the layer is to have afterwards; at most as many as it has.
    rng : numpy.random.Generator
        This layer's stream for this occasion.
    signals : Signals or None
        Of the growth batch, for strategies that need them.
    initial_weight : callable or None
        What the connections of a topology of this shape would weigh in a new network of the run; for strategies that
        tell by the sign.
    acting_share : float
        Share of the connections that signals pass through.
    """

    topology: Topology
    weight: Float32Array
    velocity: Float32Array
    n_target: int
    rng: np.random.Generator
    signals: Signals | None = None
    initial_weight: Callable[[Topology], Float32Array] | None = None
    acting_share: float = ALL_ACT

    def n_to_drop(self, drop_fraction: float) -> int:
        """Connections that go when a share is replaced, and those by which the layer is to shrink."""
        n = self.topology.n_connections
        return min(n, int(drop_fraction * n) + n - self.n_target)


@dataclass(frozen=True)
class NetworkView:
    """All layers that evolve, and what else a strategy may want to know.

    Attributes
    ----------
    layers : tuple of LayerView
        From the first on.
    output : Topology
        Of the output layer, which stays as it is.
    drop_fraction : float
        Share of the connections to be replaced now.
    keeps_sizes : bool
        Every layer must get exactly its ``n_target`` connections, else only all of them together.
    """

    layers: tuple[LayerView, ...]
    output: Topology
    drop_fraction: float
    keeps_sizes: bool = False


class LayerUpdate(NamedTuple):
    """What becomes of a layer.

    Attributes
    ----------
    change : TopologyChange
    weight : float32[nnz of the new topology] or None
        All weights afterwards; None if kept connections keep theirs, and grown ones begin as the strategy says.
    """

    change: TopologyChange
    weight: Float32Array | None = None


class TopologyUpdater(Protocol):
    """Decides which connections go and which come. Gets arrays, returns changes; keeps no state.

    The same views and streams give the same result, on any number of threads: replicas that agree go on agreeing
    without a message.
    """

    @property
    def needs_signals(self) -> bool:
        """Whether the views must have signals."""
        ...

    @property
    def sees_layers_alone(self) -> bool:
        """Whether every layer can be decided by itself: it is then changed before the next one is looked at."""
        ...

    @property
    def grows_zero(self) -> bool:
        """Whether grown connections begin with weight 0, else with an initial one."""
        ...

    def update(self, network: NetworkView) -> Sequence[LayerUpdate | None]:
        """What becomes of each layer that evolves; None where it stays."""
        ...
