"""CHT: Cannistraci-Hebb training (Zhang et al. 2024): growth predicted from the topology alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.dtypes import OFFSET, VALUE, BoolArray, Float32Array, Int64Array
from hpc_sparse.evolution import memory
from hpc_sparse.evolution.memory import LayerFigures, replacing_bytes
from hpc_sparse.evolution.percolation import percolate
from hpc_sparse.evolution.protocol import LayerUpdate, LayerView, NetworkView, TopologyUpdater, refuse_groups
from hpc_sparse.evolution.selection import draw_free_keys, find_keys, keep_largest, regrow, replace_connections
from hpc_sparse.evolution.top_k import StrongestKeys
from hpc_sparse.kernels.growth import link_prediction
from hpc_sparse.kernels.threads import threads_in_use
from hpc_sparse.network.connections.topology import Topology

TILE_BYTES = 1 << 24
"""Memory of the sums of output neurons that are scored together, MIN_TILE_ROWS to MAX_TILE_ROWS of them."""

MIN_TILE_ROWS, MAX_TILE_ROWS = 16, 512

SETTLED = 0.9
"""A layer stays as it is if more than this fraction of its dropped connections would grow again."""


DECIDING, GROWN = 31, 23
"""Bytes per connection and per connection to be grown while pairs are scored, a tile apart. Measured."""


Score = Literal["node", "path"]
Rule = Literal["best", "soft"]

LAST_POWER = 3.0
"""Power of the |weights| by which connections that stay are drawn, in the end; 1 in the beginning."""


class ChtSection(Section):
    """strategy = "cht"."""

    score: Score = "node"
    """Score of a missing link: sums over the nodes in between (CH3-L3n), or over paths (CH3-L3p), as in the authors'
    commands for MLPs. Paths take d times as long for neurons with d connections."""

    growth: Rule = "best"
    """best: grow the links of highest score; soft: draw them with probabilities in proportion to their scores."""

    removal: Rule = "best"
    """best: keep the largest |weights|; soft: draw those that stay in proportion to |weight|^T, where T rises from 1 to
    3 until end_epoch."""


@STRATEGIES.register
@dataclass(frozen=True)
class ChtUpdater(TopologyUpdater):
    """Drop the connections of smallest |weight|, grow those that the most exclusive paths of length three suggest.

    Connections into neurons without any output, and out of neurons without any input, are dropped as well. In the graph
    that remains, the missing links of highest score grow
    (see :mod:`hpc_sparse.kernels.growth.link_prediction`). Where paths suggest too few, others grow at random.

    With soft rules (CHTs, Zhang et al. 2025, arXiv 2501.19107), connections are drawn without replacement. Each pair of
    neurons has its own random number, so that the sample is exact, takes one pass and is the same on any ranks.

    A dropped connection may grow again, and then keeps weight and state; all others begin with 0, as in the authors'
    code. A layer stays as it is if nearly all dropped connections would grow again. The authors then end its evolution;
    here it may continue when weights have changed.

    Memory O(nnz) and a tile of TILE_BYTES. Work O(n_in n_out + nnz min(d^2, n)) for n neurons with d connections, which
    is high above some dozen connections per neuron; by paths O(n_in n_out + nnz d^2). It is the same on every rank, and
    nothing travels between them.

    Attributes
    ----------
    score : "node" or "path"
    growth, removal : "best" or "soft"
    """

    name: ClassVar[str] = "cht"
    section: ClassVar[type[Section]] = ChtSection
    decides_on_units: ClassVar[bool] = False

    score: Score = "node"
    growth: Rule = "best"
    removal: Rule = "best"

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Groups of inputs, layers with several maps, and taps: a chain of maps is looked at."""
        if config.network.reads_sequences:
            return 'evolution.strategy = "cht": not with layers that read sequences, which have two maps each'
        if config.network.reads_images:
            return 'evolution.strategy = "cht": not with convolutions, whose taps are no map between two layers'
        return refuse_groups(cls.name, config)

    def update(self, network: NetworkView) -> list[LayerUpdate | None]:
        """Drop in all layers, then grow in each."""
        views = network.layers
        kept = [
            keep_largest(self._strength(view, network.share_done), view.n_to_drop(network.drop_fraction))
            for view in views
        ]
        kept = percolate([view.topology for view in views], kept, network.output)
        return [self._grow(view, is_kept) for view, is_kept in zip(views, kept, strict=True)]

    def n_bytes(self, layer: LayerFigures) -> float:
        """Replacing, or a tile of scores and the best so far."""
        tile = tile_rows(layer.n_out, layer.n_in) * layer.n_in * (memory.SUM + memory.VALUE)
        return max(replacing_bytes(layer), DECIDING * layer.n_connections + GROWN * layer.n_grown + tile)

    def _strength(self, view: LayerView, share_done: float) -> Float32Array:
        """By what connections stay, float32[nnz]."""
        if self.removal == "best":
            return view.weight
        power = 1 + (LAST_POWER - 1) * share_done
        chance = np.abs(view.weight, dtype=np.float64) ** power
        return (chance / view.rng.standard_exponential(chance.size)).astype(VALUE)

    def _grow(self, view: LayerView, is_kept: BoolArray) -> LayerUpdate | None:
        n_grow = view.n_target - int(np.count_nonzero(is_kept))
        left = replace_connections(view.topology, is_kept, np.empty(0, OFFSET)).topology
        key = view.rng.integers(0, 1 << 64, dtype=np.uint64) if self.growth == "soft" else None
        grown = predicted_links(left, n_grow, self.score, key)
        if grown.size < n_grow:
            filled = _joined(left, grown)
            grown = np.sort(np.concatenate([grown, _draw_free(filled, n_grow - grown.size, view.rng)]))
        dropped = view.topology.keys()[~is_kept]
        n_back = int(np.count_nonzero(find_keys(dropped, grown)[1]))
        if view.n_target == view.weight.size and n_back > SETTLED * dropped.size:
            return None
        return LayerUpdate(regrow(view.topology, is_kept, grown))


def tile_rows(n_out: int, n_in: int) -> int:
    """Number of output neurons whose pairs are scored together."""
    return min(n_out, max(MIN_TILE_ROWS, min(MAX_TILE_ROWS, TILE_BYTES // (8 * n_in))))


def predicted_links(
    topology: Topology, n_wanted: int, score: Score = "node", key: np.uint64 | None = None
) -> Int64Array:
    """The missing links of highest score, int64[n], increasing; fewer than wanted only if no more have any path.

    With the ``key`` of a random stream, they are drawn in proportion to their scores instead.
    """
    best, (n_out, n_in) = StrongestKeys(n_wanted), topology.shape
    if not n_wanted:
        return best.keys()
    by_input, n_tile = topology.transposed, tile_rows(n_out, n_in)
    index = (*topology.rows, *by_input.rows)
    totals, scores = np.empty((n_tile, n_in), np.float64), np.empty((n_tile, n_in), VALUE)
    columns = np.arange(n_in, dtype=OFFSET)
    compute = link_prediction.score_rows if score == "node" else link_prediction.score_paths
    for start in range(0, n_out, n_tile):
        rows = np.arange(start, min(start + n_tile, n_out), dtype=OFFSET)
        n_blocks = min(threads_in_use(), rows.size)
        compute(*index, start, rows.size, n_blocks, totals, scores)
        if key is not None:
            link_prediction.soften(scores, start, rows.size, key)
        best.add(scores, rows * n_in, columns)
    return best.keys()


def _joined(topology: Topology, keys: Int64Array) -> Topology:
    return replace_connections(topology, np.ones(topology.n_connections, np.bool_), keys).topology


def _draw_free(topology: Topology, n: int, rng: np.random.Generator) -> Int64Array:
    return draw_free_keys(topology, np.ones(topology.n_connections, np.bool_), n, rng)
