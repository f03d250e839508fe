"""How a topology changes: one file per strategy. Knows no MPI and no files."""

from __future__ import annotations

from collections.abc import Callable

from hpc_sparse.evolution.protocol import TopologyUpdater
from hpc_sparse.evolution.set import SetUpdater
from hpc_sparse.evolution.static import StaticUpdater

__all__ = ["SetUpdater", "StaticUpdater", "TopologyUpdater", "make_updater"]


def make_updater(strategy: str, drop_fraction: float) -> TopologyUpdater:
    """The updater of a strategy's name."""
    makers: dict[str, Callable[[], TopologyUpdater]] = {
        "set": lambda: SetUpdater(drop_fraction),
        "static": StaticUpdater,
    }
    return makers[strategy]()
