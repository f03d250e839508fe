"""What a new layer is to be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hpc_sparse.config import LayerSection
from hpc_sparse.network.connections.initial_topology import REWIRED, Pattern
from hpc_sparse.network.connections.reserve import ALL_ACT
from hpc_sparse.rng import Purpose, stream_key

STREAM_NUMBERS = 1 << 20
"""More than a network has layers: the number by which the streams of a layer's further connections are told apart."""


@dataclass(frozen=True)
class LayerBlueprint:
    """A layer that is to be made, the same on any number of threads and ranks.

    Attributes
    ----------
    number : int
        Of the layer in its network, from 0 on.
    shape : (n_out, n_in)
        In neurons.
    density : float
        Share of the possible connections.
    activation : str
        See :mod:`hpc_sparse.network.activations`.
    alpha : float
        Its slope below 0.
    initializer : str
        See :mod:`hpc_sparse.network.connections.initial_weights`.
    seed : int
    pattern : str
        See :mod:`hpc_sparse.network.connections.initial_topology`.
    acting_share : float
        Share of the connections that acts: see :mod:`hpc_sparse.network.connections.reserve`.
    section : LayerSection or None
        What a configuration says of this layer alone; None for the output layer.
    epsilon : float or None
        Of which ``density`` comes, where it does.
    grid : tuple of int
        Places of each sample: the steps of a sequence, or rows and columns of an image; () if there is one only.
    rewired : float
        Share of the connections of the pattern small_world that lead anywhere.
    reads_tokens : bool
        Whether its inputs are tokens.
    """

    number: int
    shape: tuple[int, int]
    density: float
    activation: str
    alpha: float
    initializer: str
    seed: int
    pattern: Pattern = "erdos_renyi"
    acting_share: float = ALL_ACT
    section: LayerSection | None = None
    epsilon: float | None = None
    grid: tuple[int, ...] = ()
    rewired: float = REWIRED
    reads_tokens: bool = False

    @property
    def n_places(self) -> int:
        """Places of each sample."""
        return math.prod(self.grid)

    @property
    def kind(self) -> str:
        """Kind of the layer."""
        return "sparse" if self.section is None else self.section.kind

    @property
    def connections(self) -> str:
        """Kind of the connections."""
        return "csr" if self.section is None else self.section.connections

    @property
    def unit(self) -> tuple[int, int]:
        """Neurons above and below whose connections come and go as one."""
        return (1, 1) if self.section is None else self.section.unit

    @property
    def n_possible(self) -> int:
        """Weights that could be stored, in whole units."""
        (n_out, n_in), (r, c) = self.shape, self.unit
        return -(-n_out // r) * r * -(-n_in // c) * c

    def key(self, purpose: Purpose) -> np.uint64:
        """Key of one of the layer's random streams."""
        return stream_key(self.seed, purpose, layer=self.number)
