"""What a new layer is to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from hpc_sparse.config import LayerSection, NetworkSection
from hpc_sparse.network.activations import OUTPUT_ACTIVATION
from hpc_sparse.network.connections.initial_topology import REWIRED, Pattern
from hpc_sparse.network.connections.reserve import ALL_ACT
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.densities import densities
from hpc_sparse.rng import Purpose, stream_key

STREAM_NUMBERS = 1 << 20
"""More than a network has layers: the number by which the streams of a layer's further connections are told apart."""

NONE_GIVEN: Mapping[int, Topology] = MappingProxyType({})
"""Given connections of a network whose first connections are all drawn."""


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
    topology : Topology or None
        First connections that are given; None: they are drawn.
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
    topology: Topology | None = None

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


def blueprints(
    config: NetworkSection,
    n_inputs: int,
    n_outputs: int,
    *,
    seed: int = 0,
    acting_share: float = ALL_ACT,
    n_places: int = 1,
    reads_tokens: bool = False,
    given: Mapping[int, Topology] = NONE_GIVEN,
) -> list[LayerBlueprint]:
    """What the layers of a new network are to be; arguments as of ``Network.from_config``."""
    widths = [n_inputs, *config.hidden, n_outputs]
    found, grid = [], config.grid(n_places)
    for number, (shape, density) in enumerate(zip(pairwise(widths), densities(config, widths), strict=True)):
        is_last = number == len(config.hidden)
        section = None if is_last else config.layer(number)
        found.append(
            LayerBlueprint(
                number,
                shape[::-1],
                given[number].density if number in given else density,
                OUTPUT_ACTIVATION if is_last else config.activation_of(number),
                config.alpha if is_last else config.alpha_of(number),
                config.initializer,
                seed,
                config.random_pattern if is_last else config.pattern_of(number),
                ALL_ACT if is_last else acting_share,
                section,
                config.epsilon,
                grid,
                config.rewired_share,
                reads_tokens and number == 0,
                given.get(number),
            )
        )
        grid = () if section is None else section.grid_out(grid)
    return found
