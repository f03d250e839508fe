"""Diagonal connections: each neuron reads one input, the one of its own number, as weights by hop and feature do.

Source: the first layer of diffusion-convolutional networks, Z = f(W * P X) with an elementwise product (Atwood and
Towsley 2016, arXiv 1511.02136, section 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hpc_sparse.config.layers import CHOSEN_BY_DATA
from hpc_sparse.dtypes import INDEX, OFFSET, AnyArray, Float32Array, PointerArray, pointer_dtype
from hpc_sparse.errors import FileFormatError
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.connections.state import ConnectionState, Setting, StoredSizes
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.rng import Purpose

if TYPE_CHECKING:
    from hpc_sparse.config import LayerSection, RunConfig
    from hpc_sparse.network.blueprint import LayerBlueprint


@dataclass
class Diagonal(Csr):
    """Connections of neuron i to input i mod n_in, with the kernels of :class:`Csr`; they never evolve.

    A layer may have several neurons for each input: n_out is a multiple of n_in. Initial weights have the bounds of
    neurons with one input.
    """

    kind: ClassVar[str] = "diagonal"
    evolves: ClassVar[bool] = False

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Diagonal:
        """New connections."""
        topology = diagonal_topology(blueprint.shape)
        initializer = "he_fan_in" if blueprint.initializer == "he_uniform" else blueprint.initializer
        return cls(topology, draw_weights(initializer, topology, blueprint.key(Purpose.WEIGHTS)))

    @classmethod
    def refuses_shape(cls, shape: tuple[int, int], section: LayerSection) -> str | None:  # noqa: ARG003
        """Neurons that are no multiple of the inputs."""
        if shape[0] % shape[1]:
            return (
                f'connections = "diagonal": {shape[0]} neurons: must be as many as the {shape[1]} inputs, or a multiple'
            )
        return None

    @classmethod
    def density_of(cls, section: LayerSection, n_in: int) -> float:  # noqa: ARG003
        """One connection of each neuron."""
        return 1.0 / n_in

    @classmethod
    def keys_like(cls, section: LayerSection) -> Mapping[str, object]:  # noqa: ARG003
        """Unstructured connections, which can have any shape."""
        return {"connections": Csr.kind}

    @classmethod
    def refuses_section(cls, section: LayerSection) -> str | None:
        """A density."""
        if section.density is not None:
            return f'density = {section.density}: connections = "diagonal" are one of each neuron'
        return None

    @classmethod
    def refuses(cls, config: RunConfig) -> Iterable[str]:
        """Initial topologies that choose connections by data."""
        chosen = config.network.initial_topology
        if chosen in CHOSEN_BY_DATA:
            yield f'network.initial_topology = "{chosen}": not with connections = "{cls.kind}", which are what they are'

    def rewired(self, topology: Topology, weight: Float32Array) -> Csr:
        """Connections with another topology; of the kind :class:`Csr` where neurons are gone."""
        return (Diagonal if is_diagonal(topology) else Csr)(topology, weight)

    def rebuilt(self, shape: tuple[int, int], structure: Mapping[str, AnyArray], weight: Float32Array) -> Diagonal:
        """Connections of this kind with another structure, not checked."""
        return Diagonal(Topology(shape, structure["indptr"], structure["indices"]), weight)

    def state(self) -> ConnectionState:
        """Nothing beside the shape."""
        return replace(super().state(), kind=self.kind, structure={})

    @classmethod
    def stored_sizes(cls, shape: tuple[int, int], n_units: int, settings: Mapping[str, Setting]) -> StoredSizes:  # noqa: ARG003
        """A weight for each neuron."""
        if settings:
            raise ValueError(f"setting {min(settings)}: expected none")
        return StoredSizes({}, n_units)

    @classmethod
    def check_state(cls, where: str, state: ConnectionState) -> None:
        """Check that there is a connection for each neuron."""
        if state.n_units != state.shape[0]:
            raise FileFormatError(
                f"{where}: {state.n_units} diagonal connections: expected {state.shape[0]}, one of each neuron"
            )

    @classmethod
    def from_state(cls, state: ConnectionState, weight: Float32Array) -> Diagonal:
        """The connections again."""
        return cls(diagonal_topology(state.shape), weight)


def diagonal_topology(shape: tuple[int, int]) -> Topology:
    """Connections (i, i mod n_in)."""
    n_out, n_in = shape
    indptr: PointerArray = np.arange(n_out + 1, dtype=OFFSET).astype(pointer_dtype(n_out))
    return Topology(shape, indptr, (np.arange(n_out, dtype=INDEX) % n_in).astype(INDEX))


def is_diagonal(topology: Topology) -> bool:
    """Whether the connections are (i, i mod n_in)."""
    n_out, n_in = topology.shape
    return topology.n_connections == n_out and bool(
        np.array_equal(topology.indices, np.arange(n_out, dtype=INDEX) % n_in)
        and np.array_equal(topology.indptr, np.arange(n_out + 1))
    )
