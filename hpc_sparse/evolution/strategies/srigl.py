"""SRigL: gradient-guided growth with as many inputs for every neuron (Lasby et al. 2024, arXiv 2305.02299)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.config.evolution import Published
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.dtypes import OFFSET, BoolArray, Int64Array
from hpc_sparse.evolution.gradient_tiles import gradient_tiles, largest_gradients, searching_bytes
from hpc_sparse.evolution.memory import LayerFigures, replacing_bytes
from hpc_sparse.evolution.protocol import LayerUpdate, LayerView, NetworkView, TopologyUpdater, refuse_groups
from hpc_sparse.evolution.selection import keep_largest, regrow
from hpc_sparse.kernels.growth.largest_of_rows import grow_rows
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.distinct_numbers import sorted_distinct

SORTING = 50
"""Bytes per connection while all are sorted by neuron, the decision included. Measured."""


class SriglSection(Section):
    """strategy = "srigl"."""

    formerly: ClassVar[Mapping[str, str]] = {"min_salient": "evolution.min_salient"}

    min_salient: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.3
    """A neuron with fewer salient connections than this share of the mean fan-in loses its inputs; 0 keeps all."""


@STRATEGIES.register
@dataclass(frozen=True)
class SriglUpdater(TopologyUpdater):
    """Drop the smallest |weights| of a layer, let every neuron grow its largest |gradients| to the same fan-in.

    A connection is salient if its |weight| is kept, or if its |gradient| is among the n_grown largest of all pairs of
    neurons. A neuron with few salient connections is ablated: it loses all its
    inputs, which the others share. It returns when enough of its gradients are salient. There are always enough neurons
    to hold the layer's connections. Fan-ins differ by at most one; the neurons with most salient connections have one
    more. A connection that is dropped and grown at once keeps its weight and state.

    Any initial topology, or one averaged over replicas, has a constant fan-in after the first change.

    Layers keep row pointers, so that ablated neurons and those with one connection more need no layout of their own.
    Short rows of equal length are fast because the processor predicts where they end. Leaving out the pointers would
    gain next to nothing (measured, see tools/results/did_not_help.md).

    Memory O(nnz + TILE_ROWS n_in + B (n_in + n_out)) for a growth batch of B samples. Work at most 4 B n_in n_out per
    layer, the same on every rank. Only the pool of samples travels between ranks, once.

    Attributes
    ----------
    min_salient : float
        The authors' gamma: a neuron is ablated that has fewer salient connections than gamma k, rounded down, or none.
        k is the fan-in with no neuron ablated, rounded down, so that the limit does not rise as neurons go. 0 ablates
        nothing.
    """

    name: ClassVar[str] = "srigl"
    section: ClassVar[type[Section]] = SriglSection
    needs_signals: ClassVar[bool] = True
    works_in_parts: ClassVar[bool] = True
    published: ClassVar[Published] = Published(drop_schedule="cosine", end=0.75)

    min_salient: float = 0.3

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Groups of inputs."""
        return refuse_groups(cls.name, config)

    def update(self, network: NetworkView) -> list[LayerUpdate]:
        """Changes of the layers, decided one by one."""
        return [self._update(view, network.drop_fraction) for view in network.layers]

    def n_bytes(self, layer: LayerFigures) -> float:
        """Replacing, all connections sorted by neuron, or the search for the largest gradients."""
        return max(replacing_bytes(layer), SORTING * layer.n_connections, searching_bytes(layer))

    def _update(self, view: LayerView, drop_fraction: float) -> LayerUpdate:
        n_keep = view.n_connections - view.n_to_drop(drop_fraction)
        targets = view.of_layer.targets
        of_layer = self._fan_in(view, view.exchange.together(_salient_by_neuron(view, n_keep)))
        fan_in = of_layer[targets.first : targets.stop]
        is_kept = _keep_within(view, n_keep, fan_in)
        rows = _rows(view.topology)[is_kept]
        n_wanted = fan_in - np.bincount(rows, minlength=fan_in.size)
        assert view.signals is not None
        grown = _grow(view, is_kept, n_wanted)
        return LayerUpdate(regrow(view.topology, is_kept, grown))

    def _fan_in(self, view: LayerView, n_salient: Int64Array) -> Int64Array:
        """Connections that each neuron of the layer is to have, int64[n_out]; 0 if it is ablated."""
        n_out, n_in = n_salient.size, view.topology.shape[1]
        is_active = n_salient >= max(1, int(self.min_salient * (view.n_target // n_out)))
        best_first = np.argsort(-n_salient, kind="stable")
        n_active = n_out if self.min_salient == 0 else int(np.count_nonzero(is_active))
        n_active = max(n_active, math.ceil(view.n_target / n_in), 1)
        each, n_more = divmod(view.n_target, n_active)
        fan_in = np.zeros(n_out, OFFSET)
        fan_in[best_first[:n_active]] = each
        fan_in[best_first[:n_more]] += 1
        return fan_in


def _salient_by_neuron(view: LayerView, n_keep: int) -> Int64Array:
    """Salient connections of each neuron that is here, int64[n_out]."""
    assert view.signals is not None
    by_weight = view.topology.keys()[keep_largest(view.weight, view.n_connections - n_keep, view.exchange)]
    nothing_kept, n_grow = np.zeros(view.weight.size, np.bool_), view.n_target - n_keep
    by_gradient = largest_gradients(view.topology, nothing_kept, view.signals, n_grow, view.unit, view.share)
    keys = sorted_distinct(np.concatenate([by_weight, by_gradient]))
    n_out, n_in = view.topology.shape
    return np.bincount(keys // n_in, minlength=n_out).astype(OFFSET)


def _keep_within(view: LayerView, n_keep: int, fan_in: Int64Array) -> BoolArray:
    """Mark the ``n_keep`` largest weights of the neurons that stay, but of each no more than its fan-in: bool[nnz].

    ``n_keep`` weights of all parts, ``fan_in`` of the neurons that are here.
    """
    rows = _rows(view.topology)
    stays = fan_in[rows] > 0
    is_kept = np.zeros(rows.size, np.bool_)
    n_drop = max(0, view.exchange.total(int(np.count_nonzero(stays))) - n_keep)
    is_kept[stays] = keep_largest(view.weight[stays], n_drop, view.exchange)
    position = np.flatnonzero(is_kept)
    # Of equally large weights the first are dropped, as in the whole layer.
    by_row = position[np.lexsort((-position, -np.abs(view.weight[position]), rows[position]))]
    n_of_row = np.bincount(rows[by_row], minlength=fan_in.size)
    rank = np.arange(by_row.size) - np.repeat(np.cumsum(n_of_row) - n_of_row, n_of_row)
    is_kept[by_row[rank >= fan_in[rows[by_row]]]] = False
    return is_kept


def _grow(view: LayerView, is_kept: BoolArray, n_wanted: Int64Array) -> Int64Array:
    """Keys of each neuron's largest |gradients| among the positions that hold no kept connection, increasing."""
    assert view.signals is not None
    topology = view.topology
    starts = np.cumsum(n_wanted) - n_wanted
    keys = np.empty(int(n_wanted.sum()), OFFSET)
    n_in = topology.shape[1]
    for start, tile in gradient_tiles(view.signals, view.unit, view.share):
        grow_rows(*topology.rows, is_kept, n_in, start, n_wanted, tile, starts, keys)
    return keys


def _rows(topology: Topology) -> Int64Array:
    """Output neuron of each connection, int64[nnz]."""
    return np.repeat(np.arange(topology.shape[0], dtype=OFFSET), topology.fan_in())
