"""Group lasso as a proximal step: after each update, the norm of every block becomes smaller, at least 0.

This minimises loss + lambda * sum of the blocks' norms (Narang, Undersander, Diamos 2017, arXiv 1711.02782, section
3.2; the authors descend its gradient, which never makes a block exactly 0).
"""

from __future__ import annotations

from dataclasses import dataclass

from hpc_sparse.config import RunConfig
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.network import Network


@dataclass(frozen=True)
class GroupLasso:
    """The proximal step.

    Attributes
    ----------
    strength, recurrent_strength : float
        Lambda of connections to the layer below, and of others.
    """

    strength: float
    recurrent_strength: float

    @classmethod
    def from_config(cls, config: RunConfig) -> GroupLasso | None:
        """That of a configuration; None if it wants none."""
        settings = config.group_lasso
        if not settings.is_on:
            return None
        recurrent = settings.recurrent_strength
        return cls(settings.strength, settings.strength if recurrent is None else recurrent)

    def apply(self, network: Network, rate: float) -> None:
        """Shrink all blocks of a network after a step with the learning rate ``rate``."""
        for place, connections in network.connections():
            strength = self.strength if place.name == INPUT else self.recurrent_strength
            if connections.unit != (1, 1) and strength:
                connections.shrink(rate * strength)
