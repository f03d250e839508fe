"""How a topology changes: one file per strategy. Knows no MPI and no files."""

from __future__ import annotations

from collections.abc import Callable

from hpc_sparse.config import EvolutionSection
from hpc_sparse.evolution.protocol import TopologyUpdater
from hpc_sparse.evolution.strategies.cht import ChtUpdater
from hpc_sparse.evolution.strategies.deep_r import DeepRUpdater
from hpc_sparse.evolution.strategies.gse import GseUpdater
from hpc_sparse.evolution.strategies.rigl import RiglUpdater
from hpc_sparse.evolution.strategies.set import SetUpdater
from hpc_sparse.evolution.strategies.snfs import SnfsUpdater
from hpc_sparse.evolution.strategies.srigl import SriglUpdater
from hpc_sparse.evolution.strategies.static import StaticUpdater
from hpc_sparse.evolution.strategies.top_kast import TopKastUpdater

__all__ = [
    "ChtUpdater",
    "DeepRUpdater",
    "GseUpdater",
    "RiglUpdater",
    "SetUpdater",
    "SnfsUpdater",
    "SriglUpdater",
    "StaticUpdater",
    "TopKastUpdater",
    "TopologyUpdater",
    "make_updater",
]


def make_updater(config: EvolutionSection) -> TopologyUpdater:
    """The updater that a configuration asks for."""
    makers: dict[str, Callable[[], TopologyUpdater]] = {
        "set": SetUpdater,
        "rigl": RiglUpdater,
        "gse": lambda: GseUpdater(config.candidates, config.candidate_ratio, config.scope),
        "deep_r": lambda: DeepRUpdater(config.shrinkage, config.noise),
        "snfs": lambda: SnfsUpdater(config.candidate_ratio),
        "srigl": lambda: SriglUpdater(config.min_salient),
        "top_kast": lambda: TopKastUpdater(config.shrinkage),
        "cht": ChtUpdater,
        "static": StaticUpdater,
    }
    return makers[config.strategy]()
