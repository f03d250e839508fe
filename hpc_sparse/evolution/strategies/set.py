"""SET: sparse evolutionary training (Mocanu et al. 2018, Nature Communications 9:2383)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.dtypes import Float32Array
from hpc_sparse.evolution.memory import LayerFigures, replacing_bytes
from hpc_sparse.evolution.protocol import LayerUpdate, NetworkView, TopologyUpdater
from hpc_sparse.evolution.selection import draw_free_keys, keep_strongest, replace_connections
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.partitioned.exchange import ALONE, Exchange


@STRATEGIES.register
@dataclass(frozen=True)
class SetUpdater(TopologyUpdater):
    """Drop the weakest positive and the weakest negative connections, grow as many at random.

    Memory and work O(nnz); nothing travels between ranks.
    """

    name: ClassVar[str] = "set"
    sees_layers_alone: ClassVar[bool] = True
    grows_zero: ClassVar[bool] = False
    works_in_parts: ClassVar[bool] = True

    def update(self, network: NetworkView) -> list[LayerUpdate]:
        """Changes of the layers, decided one by one."""
        fraction = network.drop_fraction
        return [
            LayerUpdate(replace_weakest(view.topology, view.weight, fraction, view.rng, view.n_target, view.exchange))
            for view in network.layers
        ]

    def n_bytes(self, layer: LayerFigures) -> float:
        """Marks, what is drawn, and the change."""
        return replacing_bytes(layer)


def replace_weakest(
    topology: Topology,
    weight: Float32Array,
    drop_fraction: float,
    rng: np.random.Generator,
    n_target: int | None = None,
    exchange: Exchange = ALONE,
) -> TopologyChange:
    """Replace SET's zeta, the share ``drop_fraction`` of each sign's connections.

    Parameters
    ----------
    topology : Topology
    weight : float32[nnz]
    drop_fraction : float
    rng : numpy.random.Generator
    n_target : int, optional
        Connections of the new topology, at most as many as there are, which is the default; of all parts together.
    exchange : Exchange
        Between the parts that have the rows of the layer; collective.
    """
    n, n_positive = exchange.total(weight.size), exchange.total(int(np.count_nonzero(weight >= 0)))
    n_target = n if n_target is None else n_target
    n_negative = n - n_positive
    n_shrink = n - n_target
    n_shrink_positive = n_shrink * n_positive // max(1, n)
    n_drop_positive = min(n_positive, int(drop_fraction * n_positive) + n_shrink_positive)
    n_drop_negative = min(n_negative, int(drop_fraction * n_negative) + n_shrink - n_shrink_positive)
    is_kept = keep_strongest(weight, n_drop_positive, n_drop_negative, exchange)
    grown = draw_free_keys(topology, is_kept, n_drop_positive + n_drop_negative - n_shrink, rng, exchange)
    return replace_connections(topology, is_kept, grown)
