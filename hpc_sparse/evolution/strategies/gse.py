"""GSE: guided stochastic exploration (Heddes et al. 2024, arXiv 2401.06898)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.config.evolution import Published
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.config.section import Positive
from hpc_sparse.dtypes import BoolArray, Float32Array, Int64Array
from hpc_sparse.evolution.candidates import CandidateRule, draw_candidates, gradients_at
from hpc_sparse.evolution.memory import VALUE, LayerFigures, replacing_bytes
from hpc_sparse.evolution.protocol import LayerUpdate, LayerView, NetworkView, TopologyUpdater
from hpc_sparse.evolution.selection import keep_largest_of, replace_connections
from hpc_sparse.evolution.top_k import strongest, strongest_of

DECIDING, CANDIDATE = 11, 47
"""Bytes per connection and per candidate while the candidates' keys, gradients and order are there. Measured."""


class GseSection(Section):
    """strategy = "gse"."""

    formerly: ClassVar[Mapping[str, str]] = {
        "candidates": "evolution.candidates",
        "candidate_ratio": "evolution.candidate_ratio",
        "scope": "evolution.scope",
    }

    candidates: CandidateRule = "grabo"
    """Probabilities of the sampled pairs: uniform, by a bound of the gradient, by an estimate of it."""

    candidate_ratio: Positive = 1.0
    """Candidate pairs of neurons per connection, whose gradients are computed (the authors' gamma)."""

    scope: Literal["layer", "global"] = "layer"
    """Replace within each layer, or the weakest and the strongest of all layers, which change their sizes."""


@STRATEGIES.register
@dataclass(frozen=True)
class GseUpdater(TopologyUpdater):
    """Drop the connections of smallest |weight|, grow those of largest |gradient| among drawn candidates, with 0.

    Only pairs without connection are candidates, so nothing is dropped and grown at once. Where there are fewer
    candidates than connections to be replaced, fewer are replaced.

    Memory O((1 + candidate_ratio) nnz + B (n_in + n_out)) for a growth batch of B samples. Work O(B candidate_ratio
    nnz), the same on every rank. Only the pool of samples travels between ranks, once.

    Attributes
    ----------
    candidates : "uniform", "grabo" or "graest"
        See :func:`hpc_sparse.evolution.candidates.draw_candidates`.
    candidate_ratio : float
        The paper's gamma: pairs drawn by connections.
    scope : "layer" or "global"
        Whether layers keep their sizes, or the weakest go and the strongest come wherever they are.
    """

    name: ClassVar[str] = "gse"
    section: ClassVar[type[Section]] = GseSection
    needs_signals: ClassVar[bool] = True
    works_in_parts: ClassVar[bool] = True
    published: ClassVar[Published] = Published(drop_schedule="cosine", end=0.6)

    candidates: CandidateRule = "grabo"
    candidate_ratio: float = 1.0
    scope: Literal["layer", "global"] = "layer"

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Layers that change their sizes, where each group of inputs keeps its number."""
        if (kind := config.network.in_groups) and config.evolution.chosen(GseSection).scope == "global":
            return f'evolution.gse.scope = "global": not with connections = "{kind}", whose groups keep their sizes'
        return None

    def update(self, network: NetworkView) -> list[LayerUpdate]:
        """Changes of the layers, decided one by one or all together."""
        groups: Sequence[Sequence[LayerView]] = [[view] for view in network.layers]
        if self.scope == "global" and not network.keeps_sizes:
            groups = [network.layers] if network.layers else []
        return [update for group in groups for update in self._update(group, network.drop_fraction)]

    def n_bytes(self, layer: LayerFigures) -> float:
        """Replacing, absolute signals added up, or all candidates scored and ordered."""
        n_candidates = self.candidate_ratio * layer.n_connections
        signals = VALUE * max(layer.n_in, layer.n_out) * layer.n_samples * (2 if layer.is_tiled else 1)
        deciding = DECIDING * layer.n_connections + CANDIDATE * n_candidates
        return max(replacing_bytes(layer), 0 if self.candidates == "uniform" else signals, deciding)

    def _update(self, views: Sequence[LayerView], drop_fraction: float) -> list[LayerUpdate]:
        """Replace connections of some layers; together they keep their size."""
        if any(view.topology.groups is not None for view in views):
            return [self._update_alone(view, drop_fraction) for view in views]
        candidates = [draw_candidates(view, self.candidates, self.candidate_ratio) for view in views]
        n_wanted = sum(min(int(drop_fraction * view.n_connections), view.n_target) for view in views)
        grown = _strongest_of(views, candidates, n_wanted)
        n_shrink = sum(view.n_connections - view.n_target for view in views)
        n_drop = views[0].exchange.total(sum(keys.size for keys in grown)) + n_shrink
        kept = _keep_largest_of(views, n_drop)
        return [
            LayerUpdate(replace_connections(view.topology, is_kept, keys))
            for view, is_kept, keys in zip(views, kept, grown, strict=True)
        ]

    def _update_alone(self, view: LayerView, drop_fraction: float) -> LayerUpdate:
        """Replace connections of a layer, in each group as many of the weakest as it gets."""
        groups = view.topology.groups
        if groups is None:
            [update] = self._update([view], drop_fraction)
            return update
        candidates = draw_candidates(view, self.candidates, self.candidate_ratio)
        scores = np.nan_to_num(np.abs(_gradients(view, candidates)), nan=0.0)
        chosen = strongest(scores, candidates, int(drop_fraction * view.weight.size))
        keys, at = candidates[chosen], groups.numbers(candidates[chosen])
        fits = groups.keep_best(at, scores[chosen], groups.sizes(at))
        grown, at = keys[fits], at[fits]
        own = groups.numbers(view.topology.keys())
        n_grown = np.searchsorted(at, own, "right") - np.searchsorted(at, own)
        is_kept = groups.keep_best(own, view.weight, groups.sizes(own) - n_grown)
        return LayerUpdate(replace_connections(view.topology, is_kept, grown))


def _strongest_of(views: Sequence[LayerView], candidates: Sequence[Int64Array], n_wanted: int) -> list[Int64Array]:
    """The candidates of largest |gradient| in all layers, of equal ones those of lower layers and keys."""
    scores = [np.abs(_gradients(view, keys)) for view, keys in zip(views, candidates, strict=True)]
    for each in scores:
        np.nan_to_num(each, copy=False, nan=0.0)
    chosen = strongest_of(scores, n_wanted, views[0].exchange)
    return [keys[positions] for keys, positions in zip(candidates, chosen, strict=True)]


def _gradients(view: LayerView, keys: Int64Array) -> Float32Array:
    assert view.signals is not None
    return gradients_at(view.topology.shape, keys, view.signals, view.unit, view.share)


def _keep_largest_of(views: Sequence[LayerView], n_drop: int) -> list[BoolArray]:
    """Mark the largest weights of all layers; every layer keeps its largest one in any case, at another's expense."""
    weights = [view.weight for view in views]
    if len(views) > 1:
        weights = [np.abs(weight) for weight in weights]
        for view, weight in zip(views, weights, strict=True):
            if (largest := view.exchange.first_largest(weight)) is not None:
                weight[largest] = np.inf
    return keep_largest_of(weights, n_drop, views[0].exchange)
