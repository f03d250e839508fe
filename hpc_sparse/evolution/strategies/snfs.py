"""SNFS: sparse networks from scratch (Dettmers, Zettlemoyer 2019, arXiv 1907.04840), growth from a candidate pool."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.config.evolution import Published
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.config.section import Positive
from hpc_sparse.dtypes import OFFSET, BoolArray, Float64Array, Int64Array
from hpc_sparse.evolution.candidates import gradients_at
from hpc_sparse.evolution.memory import LayerFigures, replacing_bytes
from hpc_sparse.evolution.protocol import LayerUpdate, LayerView, NetworkView, TopologyUpdater, refuse_groups
from hpc_sparse.evolution.selection import draw_free_keys, keep_largest, regrow
from hpc_sparse.evolution.top_k import strongest
from hpc_sparse.network.apportion import apportion
from hpc_sparse.network.bfloat16 import widened
from hpc_sparse.network.optimizers.registry import make_optimizer

NEARLY_DENSE = 0.2
"""A layer with a smaller share of free positions has at most as many connections replaced as there are free ones."""

FILLING = 0.99
"""Share of a layer's free positions that may be filled at once."""


DECIDING, GROWN, CANDIDATE = 1, 25, 28
"""Bytes per connection, per connection to be grown and per candidate while the candidates' keys, gradients and order
are there. Measured."""


class SnfsSection(Section):
    """strategy = "snfs"."""

    formerly: ClassVar[Mapping[str, str]] = {"candidate_ratio": "evolution.candidate_ratio"}

    candidate_ratio: Positive = 1.0
    """Candidate free positions per connection, whose gradients are computed; at least as many as grow."""


@STRATEGIES.register
@dataclass(frozen=True)
class SnfsUpdater(TopologyUpdater):
    """Drop the connections of smallest |weight|, grow where the momentum of a layer's connections is large.

    Layers share what is dropped in proportion to the mean |momentum| of their connections. The authors then grow where
    the momentum is largest, which they keep for every pair of neurons. Here the gradient of a growth batch of B samples
    replaces it, at candidates drawn from the free positions. Dropped connections may grow again, and then keep weight
    and state.

    Memory O((1 + candidate_ratio) nnz + B (n_in + n_out)), work O(B candidate_ratio nnz), the same on every rank. Only
    the pool of samples travels between ranks, once.

    Attributes
    ----------
    candidate_ratio : float
        Candidates by connections of the layer; at least as many as grow.
    """

    name: ClassVar[str] = "snfs"
    section: ClassVar[type[Section]] = SnfsSection
    needs_signals: ClassVar[bool] = True
    published: ClassVar[Published] = Published(0.5, "cosine", least=0.005)

    candidate_ratio: float = 1.0

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Groups, an optimiser without momentum, or one whose momentum a sync forgets."""
        if refusal := refuse_groups(cls.name, config):
            return refusal
        optimizer, parallel = make_optimizer(config), config.parallel
        if optimizer.momentum_array is None:
            return (
                f'evolution.strategy = "snfs": not with training.optimizer = "{optimizer.name}", which keeps no '
                'momentum to share out connections by; use "sgd"'
            )
        if parallel.algorithm != "local_sgd" or optimizer.momentum_array not in optimizer.reset_at_sync(parallel):
            return None
        return (
            'evolution.strategy = "snfs": not with parallel.velocity_at_sync = "reset", which leaves no momentum to '
            'share out connections by; use velocity_at_sync = "average"'
        )

    def update(self, network: NetworkView) -> list[LayerUpdate]:
        """All layers together."""
        views = network.layers
        kept = [keep_largest(view.weight, _n_to_drop(view, network.drop_fraction)) for view in views]
        n_grow = _growth(network, np.array([np.count_nonzero(mask) for mask in kept], OFFSET))
        return [self._grow(view, is_kept, n) for view, is_kept, n in zip(views, kept, n_grow.tolist(), strict=True)]

    def n_bytes(self, layer: LayerFigures) -> float:
        """Replacing, or all candidates scored and ordered."""
        n_candidates = self.candidate_ratio * layer.n_connections
        deciding = DECIDING * layer.n_connections + GROWN * layer.n_grown + CANDIDATE * n_candidates
        return max(replacing_bytes(layer), deciding)

    def _grow(self, view: LayerView, is_kept: BoolArray, n_grow: int) -> LayerUpdate:
        """Grow the best of the candidates."""
        assert view.signals is not None
        n_candidates = max(n_grow, math.ceil(self.candidate_ratio * view.weight.size))
        candidates = draw_free_keys(view.topology, is_kept, n_candidates, view.rng)
        gradients = gradients_at(view.topology.shape, candidates, view.signals, view.unit)
        scores = np.nan_to_num(np.abs(gradients))
        return LayerUpdate(regrow(view.topology, is_kept, candidates[strongest(scores, candidates, n_grow)]))


def _n_to_drop(view: LayerView, drop_fraction: float) -> int:
    """The usual number, but a layer with few free positions keeps more, and every layer one at least."""
    share_free = 1.0 - view.topology.density
    n_drop = view.n_to_drop(min(drop_fraction, share_free) if share_free < NEARLY_DENSE else drop_fraction)
    return min(n_drop, max(view.weight.size - 1, 0))


def _growth(network: NetworkView, n_kept: Int64Array) -> Int64Array:
    """Number of connections to grow per layer, int64[n_layers]."""
    targets = np.array([view.n_target for view in network.layers], OFFSET)
    n_missing: Int64Array = np.maximum(targets - n_kept, 0)
    if network.keeps_sizes:
        return n_missing
    n_possible = np.array([math.prod(view.topology.shape) for view in network.layers], OFFSET)
    room = np.floor(FILLING * (n_possible - n_kept)).astype(OFFSET)
    return apportion(int(n_missing.sum()), _momentum(network), room)


def _momentum(network: NetworkView) -> Float64Array:
    """Mean |momentum| of each layer's connections."""
    means = []
    for view in network.layers:
        assert view.momentum is not None
        means.append(float(np.abs(widened(view.momentum)).sum(dtype=np.float64)) / max(1, view.momentum.size))
    return np.array(means, np.float64)
