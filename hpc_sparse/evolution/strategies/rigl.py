"""RigL: grow where the gradient is largest (Evci et al. 2020, arXiv 1911.11134), without a dense matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hpc_sparse.config.evolution import Published
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.evolution.gradient_tiles import largest_gradients, searching_bytes
from hpc_sparse.evolution.memory import LayerFigures, replacing_bytes
from hpc_sparse.evolution.protocol import LayerUpdate, LayerView, NetworkView, TopologyUpdater
from hpc_sparse.evolution.selection import keep_largest, regrow


@STRATEGIES.register
@dataclass(frozen=True)
class RiglUpdater(TopologyUpdater):
    """Drop the connections of smallest |weight|, grow those of largest |gradient|, with weight 0.

    A connection just dropped may grow again, and then keeps its weight and state. The gradient is that of a growth
    batch of B samples, computed a tile of rows at a time. By the Cauchy-Schwarz inequality, |gradient| is at most the
    product of the norms of both ends' signals. Tiles, or parts of them, that cannot hold one of the best are left out.
    Equal gradients are taken in the order of their keys. Unlike the original, the step in which the topology changes is
    not skipped.

    Memory O(nnz + TILE_ROWS n_in + B (n_in + n_out)). Work at most 2 B n_in n_out per layer, the same on every rank.
    Only the pool of samples travels between ranks, once.
    """

    name: ClassVar[str] = "rigl"
    needs_signals: ClassVar[bool] = True
    works_in_parts: ClassVar[bool] = True
    published: ClassVar[Published] = Published(drop_schedule="cosine", end=0.75)

    def update(self, network: NetworkView) -> list[LayerUpdate]:
        """Changes of the layers, decided one by one."""
        return [self._update(view, network.drop_fraction) for view in network.layers]

    def n_bytes(self, layer: LayerFigures) -> float:
        """Replacing, or the search for the largest gradients."""
        return max(replacing_bytes(layer), searching_bytes(layer))

    def _update(self, view: LayerView, drop_fraction: float) -> LayerUpdate:
        assert view.signals is not None
        n_drop = view.n_to_drop(drop_fraction)
        is_kept = keep_largest(view.weight, n_drop, view.exchange)
        n_grow = view.n_target - (view.n_connections - n_drop)
        grown = largest_gradients(view.topology, is_kept, view.signals, n_grow, view.unit, view.share)
        return LayerUpdate(regrow(view.topology, is_kept, grown))
