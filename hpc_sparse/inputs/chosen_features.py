"""The features whose input neurons are left after pruning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import AnyArray, Float32Array, Int32Array
from hpc_sparse.inputs.protocol import FrontEnd, Gather
from hpc_sparse.network.layers.sparse import SparseLayer


@dataclass(frozen=True)
class ChosenFeatures(FrontEnd):
    """Some of the features. A network that has lost inputs asks for it, and stores the numbers as those of its neurons.

    Attributes
    ----------
    chosen : int32[n_inputs]
        Their numbers, increasing.
    n_before : int or None
        Features that there are, if that is known.
    """

    name: ClassVar[str] = "chosen_features"

    chosen: Int32Array
    n_before: int | None = None

    @classmethod
    def restore(cls, config: RunConfig, arrays: Mapping[str, AnyArray]) -> Self | None:
        """None: no configuration asks for it."""
        return None

    @property
    def n_least(self) -> int:
        """Features that a sample has at least."""
        return int(self.chosen[-1]) + 1

    def n_inputs(self, n_features: int) -> int:
        """Chosen features."""
        return int(self.chosen.size)

    def fused(self, gather: Gather) -> Gather | None:
        """The pass over these features only."""
        return replace(gather, chosen=self.chosen) if gather.chosen is None else None

    def apply(self, batch: Float32Array, n_samples: int, out: Float32Array) -> None:
        """Take these rows of a batch."""
        batch.take(self.chosen, 0, out, "clip")

    def fold(self, layer: SparseLayer) -> SparseLayer:
        """A layer with an input neuron for every feature, and the same connections."""
        shape = (layer.shape[0], self.n_before or self.n_least)
        topology = layer.topology.spread(shape, None, self.chosen)
        return replace(layer, incoming=layer.incoming.rewired(topology, layer.weight))
