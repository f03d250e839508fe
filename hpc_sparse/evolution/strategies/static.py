"""No evolution: the initial topology stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.config.section import Share
from hpc_sparse.evolution.memory import LayerFigures
from hpc_sparse.evolution.protocol import NetworkView, TopologyUpdater, refuse_choice_of_weights
from hpc_sparse.network.connections.reserve import ALL_ACT


class StaticSection(Section):
    """strategy = "static": no connection goes or comes."""

    formerly: ClassVar[Mapping[str, str]] = {"acting_share": "network.acting_share"}

    acting_share: Share = ALL_ACT
    """As for top_kast, with a reserve that stays."""


@STRATEGIES.register
@dataclass(frozen=True)
class StaticUpdater(TopologyUpdater):
    """Leaves every topology as it is. No memory, no work; nothing travels between ranks."""

    name: ClassVar[str] = "static"
    section: ClassVar[type[Section]] = StaticSection
    changes_topology: ClassVar[bool] = False
    works_in_parts: ClassVar[bool] = True

    acting_share: float = ALL_ACT

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """A density to be reached, a reserve in groups, and a choice of what grown connections begin with."""
        share = config.evolution.chosen(StaticSection).acting_share
        if (kind := config.network.in_groups) and share < ALL_ACT:
            return f'evolution.static.acting_share = {share}: not with connections = "{kind}", all of which act'
        if config.evolution.final_density is not None:
            return 'evolution.final_density needs a strategy other than "static"'
        if config.network.has_units and config.evolution.chosen(StaticSection).acting_share != ALL_ACT:
            return "evolution.static.acting_share: chooses single connections, not blocks; expected 1"
        return refuse_choice_of_weights(cls.name, config)

    def update(self, network: NetworkView) -> list[None]:
        """No change of any layer."""
        return [None] * len(network.layers)

    def n_bytes(self, layer: LayerFigures) -> float:  # noqa: ARG002  (nothing is decided)
        """No memory."""
        return 0.0
