"""SET: sparse evolutionary training (Mocanu et al. 2018, Nature Communications 9:2383)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, Float32Array
from hpc_sparse.evolution.selection import draw_free_keys, keep_strongest
from hpc_sparse.kernels import connectivity
from hpc_sparse.network.topology import Topology, TopologyChange


@dataclass(frozen=True)
class SetUpdater:
    """Drop the weakest positive and the weakest negative connections, grow as many at random.

    Costs O(nnz) memory and time and no communication.

    Attributes
    ----------
    drop_fraction : float
        SET's zeta: the share of each sign's connections that is replaced.
    """

    drop_fraction: float

    def update(self, topology: Topology, weight: Float32Array, rng: np.random.Generator) -> TopologyChange:
        """The next topology; the number of connections stays."""
        n_positive = int(np.count_nonzero(weight >= 0))
        n_drop_positive = int(self.drop_fraction * n_positive)
        n_drop_negative = int(self.drop_fraction * (weight.size - n_positive))
        is_kept = keep_strongest(weight, n_drop_positive, n_drop_negative)
        grown = draw_free_keys(topology, is_kept, n_drop_positive + n_drop_negative, rng)
        indptr = np.empty_like(topology.indptr)
        indices = np.empty(topology.n_connections, INDEX)
        old_position = np.empty(topology.n_connections, OFFSET)
        connectivity.merge_rows(
            topology.indptr, topology.indices, is_kept, topology.shape[1], grown, indptr, indices, old_position
        )
        return TopologyChange(Topology(topology.shape, indptr, indices), old_position)
