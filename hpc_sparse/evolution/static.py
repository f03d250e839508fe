"""No evolution: the initial topology stays."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import Float32Array
from hpc_sparse.network.topology import Topology


class StaticUpdater:
    """Leaves every topology as it is."""

    def update(self, topology: Topology, weight: Float32Array, rng: np.random.Generator) -> None:
        """Nothing changes."""
