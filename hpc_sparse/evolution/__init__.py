"""Changes of a topology, without MPI and files."""

from __future__ import annotations

from hpc_sparse.config import EvolutionSection
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.evolution import strategies as strategies
from hpc_sparse.evolution.protocol import TopologyUpdater

__all__ = ["TopologyUpdater", "make_updater"]


def make_updater(config: EvolutionSection) -> TopologyUpdater:
    """The updater that a configuration asks for."""
    kind = STRATEGIES[config.strategy]
    assert issubclass(kind, TopologyUpdater)
    return kind.from_config(config)
