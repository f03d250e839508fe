"""Structure of topologies, and differences between them: over time, between networks, and from chance."""

from __future__ import annotations

from hpc_sparse.analysis.degrees import DegreeDistribution, fan_in_distribution, fan_out_distribution
from hpc_sparse.analysis.distance import TopologyDistance, pairwise_distances, topology_distance
from hpc_sparse.analysis.overlap import SharedConnections, explored_connections, shared_connections
from hpc_sparse.analysis.paths import PathCounts, count_paths
from hpc_sparse.analysis.reach import Reach, find_reach
from hpc_sparse.analysis.topologies import as_topologies

__all__ = [
    "DegreeDistribution",
    "PathCounts",
    "Reach",
    "SharedConnections",
    "TopologyDistance",
    "as_topologies",
    "count_paths",
    "explored_connections",
    "fan_in_distribution",
    "fan_out_distribution",
    "find_reach",
    "pairwise_distances",
    "shared_connections",
    "topology_distance",
]
