"""The union of the replicas' connections, onto which parameters are mapped to be averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import AnyArray, Int64Array
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.distinct_numbers import sorted_distinct
from hpc_sparse.parallel.collectives import all_gather_parts
from hpc_sparse.parallel.context import ParallelContext


@dataclass(frozen=True)
class SharedIndex:
    """A layer's connections over all replicas.

    Attributes
    ----------
    keys : int64[n], increasing
        ``out * n_in + in`` of every connection that at least one replica has; identical on all ranks.
    position : int64[nnz of the own replica], increasing
        Where the own replica's connections are in ``keys``.
    n_sent : int
        Keys that this rank had to send.
    """

    keys: Int64Array
    position: Int64Array
    n_sent: int

    @classmethod
    def build(cls, ctx: ParallelContext, base: Topology, own: Topology) -> SharedIndex:
        """Bring the replicas' topologies together (collective).

        Parameters
        ----------
        ctx : ParallelContext
        base : Topology
            What all replicas had after the last sync; only what has grown since travels.
        own : Topology
            This replica's now.
        """
        own_keys, base_keys = own.keys(), base.keys()
        grown = np.setdiff1d(own_keys, base_keys, assume_unique=True)
        keys = sorted_distinct(np.concatenate([base_keys, *all_gather_parts(ctx, grown)]))
        return cls(keys, np.searchsorted(keys, own_keys), grown.size)

    def scatter(self, values: AnyArray, values_per_unit: int = 1) -> AnyArray:
        """The own replica's values at their places in the union, of their type; 0 where it has no connection.

        Parameters
        ----------
        values : float32[nnz of the own replica x values_per_unit], or bfloat16
        values_per_unit : int
            How many belong to one key.
        """
        placed = np.zeros((self.keys.size, values_per_unit), values.dtype)
        placed[self.position] = values.reshape(-1, values_per_unit)
        return placed.reshape(-1)
