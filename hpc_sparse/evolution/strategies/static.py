"""No evolution: the initial topology stays."""

from __future__ import annotations

from dataclasses import dataclass

from hpc_sparse.evolution.protocol import NetworkView


@dataclass(frozen=True)
class StaticUpdater:
    """Leaves every topology as it is. No memory, no work; nothing travels between ranks."""

    needs_signals: bool = False
    sees_layers_alone: bool = False
    grows_zero: bool = False

    def update(self, network: NetworkView) -> list[None]:
        """Nothing changes."""
        return [None] * len(network.layers)
