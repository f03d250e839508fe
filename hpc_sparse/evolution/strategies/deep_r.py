"""DEEP R: rewiring as a random walk (Bellec et al. 2018, arXiv 1711.05136)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.config.section import NonNegative
from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.evolution.memory import LayerFigures, replacing_bytes
from hpc_sparse.evolution.protocol import LayerUpdate, LayerView, NetworkView, TopologyUpdater, refuse_choice_of_weights
from hpc_sparse.evolution.selection import draw_free_keys, keep_largest, replace_connections
from hpc_sparse.network.connections.topology import Topology

NEWBORN = VALUE(1e-12)
"""|weight| of a grown connection: next to nothing, but of its own sign."""


WALKING = 38
"""Bytes per connection while all weights walk, the decision included. Measured."""


class DeepRSection(Section):
    """strategy = "deep_r"; evolution.drop_fraction has no effect."""

    formerly: ClassVar[Mapping[str, str]] = {"shrinkage": "evolution.shrinkage", "noise": "evolution.noise"}

    shrinkage: NonNegative = 0.001
    """Taken off every |weight| at each change."""

    noise: NonNegative = 0.0005
    """Standard deviation of what is added to every weight at each change."""


@STRATEGIES.register
@dataclass(frozen=True)
class DeepRUpdater(TopologyUpdater):
    """Drop the connections whose weights have left their side of 0, grow as many at random.

    Every pair of neurons has a sign, that of its weight in a new network, so it need not be stored. The authors shrink
    all weights, add noise and rewire in every step. Here this happens at each change of the topology, for all steps
    since the last. The number of replaced connections follows from the weights: the drop fraction has no effect.

    Memory and work O(nnz); nothing travels between ranks.

    Attributes
    ----------
    shrinkage : float
        Taken off every |weight| (the authors' learning rate x l1 x steps).
    noise : float
        Standard deviation of what is added to every weight (learning rate x their noise x the root of the steps).
    """

    name: ClassVar[str] = "deep_r"
    section: ClassVar[type[Section]] = DeepRSection
    sees_layers_alone: ClassVar[bool] = True

    shrinkage: float
    noise: float

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Neurons that get other numbers, and a choice of what grown connections begin with."""
        if config.importance_pruning.mode == "compact":
            return (
                'evolution.strategy = "deep_r": not with importance_pruning.mode = "compact", which gives neurons '
                'other numbers, on which the signs of the weights depend; use mode = "released"'
            )
        return refuse_choice_of_weights(cls.name, config)

    def update(self, network: NetworkView) -> list[LayerUpdate]:
        """Changes of the layers, decided one by one."""
        return [self._update(view) for view in network.layers]

    def n_bytes(self, layer: LayerFigures) -> float:
        """Replacing, or the walk of all weights."""
        return max(replacing_bytes(layer), WALKING * layer.n_connections)

    def _update(self, view: LayerView) -> LayerUpdate:
        walk = VALUE(self.noise) * view.rng.standard_normal(view.weight.size, VALUE) - VALUE(self.shrinkage)
        size = np.maximum(_signs(view, view.topology) * view.weight + walk, VALUE(0))
        n_drop = max(int(np.count_nonzero(size == 0)), view.weight.size - view.n_target)
        is_kept = keep_largest(size, n_drop)
        grown = draw_free_keys(view.topology, is_kept, view.n_target - (view.weight.size - n_drop), view.rng)
        change = replace_connections(view.topology, is_kept, grown)
        new_size = np.where(change.old_position < 0, NEWBORN, change.carry(size))
        return LayerUpdate(change, _signs(view, change.topology) * new_size)


def _signs(view: LayerView, topology: Topology) -> Float32Array:
    """1 or -1 for each connection, float32[nnz]."""
    assert view.initial_weight is not None
    return np.where(view.initial_weight(topology) < 0, VALUE(-1), VALUE(1))
