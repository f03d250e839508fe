"""What every evolution strategy offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from hpc_sparse.dtypes import Float32Array
from hpc_sparse.network.topology import Topology, TopologyChange


class TopologyUpdater(Protocol):
    """Decides which connections of one layer go and which come. Gets arrays, returns a change."""

    def update(self, topology: Topology, weight: Float32Array, rng: np.random.Generator) -> TopologyChange | None:
        """The next topology of a layer, or None to leave it as it is.

        Parameters
        ----------
        topology : Topology
        weight : float32[nnz]
            Not changed; the caller carries it over and initialises what has grown.
        rng : numpy.random.Generator
            This layer's and epoch's stream.
        """
        ...
