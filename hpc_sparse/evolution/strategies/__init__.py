"""Strategies of evolution, one file each. Each line here makes one known to configurations."""

from hpc_sparse.evolution.strategies.cht import ChtUpdater as ChtUpdater
from hpc_sparse.evolution.strategies.deep_r import DeepRUpdater as DeepRUpdater
from hpc_sparse.evolution.strategies.gse import GseUpdater as GseUpdater
from hpc_sparse.evolution.strategies.rigl import RiglUpdater as RiglUpdater
from hpc_sparse.evolution.strategies.set import SetUpdater as SetUpdater
from hpc_sparse.evolution.strategies.snfs import SnfsUpdater as SnfsUpdater
from hpc_sparse.evolution.strategies.srigl import SriglUpdater as SriglUpdater
from hpc_sparse.evolution.strategies.static import StaticUpdater as StaticUpdater
from hpc_sparse.evolution.strategies.top_kast import TopKastUpdater as TopKastUpdater
