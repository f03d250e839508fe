"""Top-KAST: connections that act, and a reserve that only learns (Jayakumar et al. 2020, arXiv 2106.03517)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.config.section import NonNegative, Share
from hpc_sparse.evolution.memory import LayerFigures, replacing_bytes
from hpc_sparse.evolution.protocol import (
    LayerUpdate,
    LayerView,
    NetworkView,
    TopologyUpdater,
    refuse_choice_of_weights,
    refuse_groups,
)
from hpc_sparse.evolution.selection import draw_free_keys, keep_largest, replace_connections
from hpc_sparse.kernels.norm import sum_of_squares
from hpc_sparse.network.connections.protocol import Connections
from hpc_sparse.network.connections.reserve import ALL_ACT, acting_weight, n_acting


class TopKastSection(Section):
    """strategy = "top_kast"."""

    formerly: ClassVar[Mapping[str, str]] = {
        "acting_share": "network.acting_share",
        "shrinkage": "evolution.shrinkage",
    }

    acting_share: Share = ALL_ACT
    """Fraction of each hidden layer's connections used forward and backward, those of largest |weight|; all learn."""

    shrinkage: NonNegative = 0.0001
    """Factor of the exploration loss: of the norm of the acting weights, and more of that of the others."""


@STRATEGIES.register
@dataclass(frozen=True)
class TopKastUpdater(TopologyUpdater):
    """Replace the smallest weights of the reserve by connections at random, with weight 0.

    The largest weights of a layer act: signals pass through them (see :mod:`hpc_sparse.network.connections.reserve`).
    The others are the reserve. Gradients reach them, too: in every step, a reserve weight that has grown large enough
    takes the place of the weakest acting one. The authors keep a weight for every pair of neurons and choose both sets
    among all. Here only the two sets are stored, and the reserve rotates: at each change its smallest weights make room
    for new connections.

    The exploration loss of a layer is ``s (|A| + |R| / D)``, with ``s = shrinkage``, the Euclidean norms of the acting
    weights and of the reserve, and ``D`` the share of all pairs of neurons that act. Norms, not their squares: so its
    gradient is bounded by ``s`` and ``s / D``, however large or small the weights are. It is applied after every step,
    as a proximal one: a step of learning rate ``r`` takes ``r s`` off ``|A|`` and ``r s / D`` off ``|R|``.

    Memory and work of a change O(nnz); nothing travels between ranks. A step takes O(B nnz) for all that is stored, as
    ever, and a selection among the weights of each layer, forward, backward and for the loss.

    Attributes
    ----------
    shrinkage : float
    acting_share : float
        Acting share of a new network; a change uses the one of its view.
    """

    name: ClassVar[str] = "top_kast"
    decides_on_units: ClassVar[bool] = False
    section: ClassVar[type[Section]] = TopKastSection
    sees_layers_alone: ClassVar[bool] = True
    acts_after_steps: ClassVar[bool] = True

    shrinkage: float = 0.0
    acting_share: float = ALL_ACT

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """No reserve, groups, and a choice of what grown connections begin with."""
        if refusal := refuse_groups(cls.name, config):
            return refusal
        if config.evolution.chosen(TopKastSection).acting_share == ALL_ACT:
            return (
                'evolution.strategy = "top_kast": needs a reserve of connections that do not act; set '
                "evolution.top_kast.acting_share below 1, such as 0.5"
            )
        return refuse_choice_of_weights(cls.name, config)

    def update(self, network: NetworkView) -> list[LayerUpdate]:
        """Changes of the layers, decided one by one."""
        return [self._update(view, network.drop_fraction) for view in network.layers]

    def n_bytes(self, layer: LayerFigures) -> float:
        """Replacing."""
        return replacing_bytes(layer)

    def after_step(self, connections: Connections, rate: float) -> None:
        """Take a step of the exploration loss off the norms of the acting weights and of the others."""
        weight = connections.weight
        if not self.shrinkage or not weight.size:
            return
        acting = acting_weight(weight, self.acting_share)
        share_acting = n_acting(weight.size, self.acting_share) / (connections.shape[0] * connections.shape[1])
        acts = acting != 0
        pulls = (rate * self.shrinkage, acts), (rate * self.shrinkage / share_acting, ~acts)
        remaining = np.empty_like(weight)
        for pull, own in pulls:
            norm = math.sqrt(sum_of_squares(weight[own]))
            remaining[own] = max(0.0, 1.0 - pull / norm) if norm else 1.0
        weight *= remaining

    def _update(self, view: LayerView, drop_fraction: float) -> LayerUpdate:
        n = view.weight.size
        n_reserve, n_shrink = n - n_acting(n, view.acting_share), n - view.n_target
        n_drop = min(n, int(drop_fraction * n_reserve) + n_shrink)
        is_kept = keep_largest(view.weight, n_drop)
        grown = draw_free_keys(view.topology, is_kept, n_drop - n_shrink, view.rng)
        change = replace_connections(view.topology, is_kept, grown)
        return LayerUpdate(change)
