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
from hpc_sparse.network.partitioned.random_numbers import own_normals

NEWBORN = VALUE(1e-12)
"""|weight| of a grown connection: next to nothing, but of its own sign."""

SIGN = "sign"
"""The state array: 1 or -1 for each connection; 0 where it is not known yet, which is then that of the weight."""

WALKING = 45
"""Bytes per connection while all weights walk, the decision included. Measured."""


class DeepRSection(Section):
    """strategy = "deep_r"; evolution.drop_fraction has no effect."""

    formerly: ClassVar[Mapping[str, str]] = {"shrinkage": "evolution.shrinkage", "noise": "evolution.noise"}

    shrinkage: NonNegative = 0.001
    """Taken off every |weight| at each change; the authors: learning rate x 1e-5 x steps since the last."""

    noise: NonNegative = 0.0005
    """Standard deviation of what each change adds to weights; the authors: learning rate x 1e-5 x root of the steps."""


@STRATEGIES.register
@dataclass(frozen=True)
class DeepRUpdater(TopologyUpdater):
    """Drop the connections whose weights have left their side of 0, grow as many at random.

    A connection keeps the sign that its weight had when it began, in a state array: 4 bytes for each. So a network from
    anywhere may go on. A grown connection gets the sign of its pair's weight in a new network. The authors shrink all
    weights, add noise and rewire in every step. Here this happens at each change of the topology, for all steps since
    the last. The number of replaced connections follows from the weights: the drop fraction has no effect.

    In ``n`` steps of learning rate ``r``, the authors take ``r l1 n`` off and add noise of deviation ``r noise
    sqrt(n)``. With their l1 = noise = 1e-5, 468 steps and r = 0.01, these are 4.7e-5 and 2.2e-6. The defaults are about
    20 and 250 times as large, because crossings count at changes only.

    Memory and work O(nnz); nothing travels between replicas. Each part of a network draws the noise of all weights.

    Attributes
    ----------
    shrinkage : float
        Taken off every |weight|.
    noise : float
        Standard deviation of what is added to every weight.
    """

    name: ClassVar[str] = "deep_r"
    section: ClassVar[type[Section]] = DeepRSection
    sees_layers_alone: ClassVar[bool] = True
    works_in_parts: ClassVar[bool] = True
    state_arrays: ClassVar[Mapping[str, str]] = {SIGN: "signs of connections"}

    shrinkage: float
    noise: float

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """A choice of what grown connections begin with."""
        return refuse_choice_of_weights(cls.name, config)

    def first_states(self, weight: Float32Array) -> Mapping[str, Float32Array]:
        """Signs of the weights."""
        return {SIGN: _signs(weight)}

    def update(self, network: NetworkView) -> list[LayerUpdate]:
        """Changes of the layers, decided one by one."""
        return [self._update(view) for view in network.layers]

    def n_bytes(self, layer: LayerFigures) -> float:
        """Replacing, or the walk of all weights."""
        return max(replacing_bytes(layer), WALKING * layer.n_connections)

    def _update(self, view: LayerView) -> LayerUpdate:
        exchange, n = view.exchange, view.n_connections
        first = exchange.before(view.weight.size)
        noise = own_normals(n, view.rng, range(first, first + view.weight.size))
        walk = VALUE(self.noise) * noise - VALUE(self.shrinkage)
        sign = _kept_signs(view)
        size = np.maximum(sign * view.weight + walk, VALUE(0))
        n_drop = max(exchange.total(int(np.count_nonzero(size == 0))), n - view.n_target)
        is_kept = keep_largest(size, n_drop, exchange)
        grown = draw_free_keys(view.topology, is_kept, view.n_target - (n - n_drop), view.rng, exchange)
        change = replace_connections(view.topology, is_kept, grown)
        new_size = np.where(change.old_position < 0, NEWBORN, change.carry(size))
        assert view.initial_weight is not None
        sign = np.where(change.old_position < 0, _signs(view.initial_weight(change.topology)), change.carry(sign))
        return LayerUpdate(change, sign * new_size, {SIGN: sign} if view.remembered else {})


def _kept_signs(view: LayerView) -> Float32Array:
    """1 or -1 for each connection, float32[nnz]; where replicas with other signs were averaged, that of most."""
    now = _signs(view.weight)
    if SIGN not in view.remembered:
        return now
    known = view.remembered[SIGN]
    return np.where(known == 0, now, _signs(known))


def _signs(values: Float32Array) -> Float32Array:
    return np.where(values < 0, VALUE(-1), VALUE(1))
