"""All parameters of a network in one vector, so that an update is one pass and a message one buffer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.network.network import Network
from hpc_sparse.network.replica import Replica


@dataclass(frozen=True)
class ParameterLayout:
    """Where a network's parameters are in a vector: those of all layers that decay, then the others of all layers.

    Attributes
    ----------
    parts : tuple of (layer, name, start, stop)
        In the order of the vector.
    n_decayed : int
        So many numbers at the front decay.
    n_layers : int
    """

    parts: tuple[tuple[int, str, int, int], ...]
    n_decayed: int
    n_layers: int

    @classmethod
    def of(cls, network: Network) -> ParameterLayout:
        """The layout for a network's present topology."""
        parts, start, n_decayed = [], 0, 0
        for decays in (True, False):
            for number, layer in enumerate(network.layers):
                for name, parameter in layer.parameters().items():
                    if parameter.decays == decays:
                        parts.append((number, name, start, start + parameter.values.size))
                        start += parameter.values.size
            n_decayed = n_decayed or start
        return cls(tuple(parts), n_decayed, len(network.layers))

    @property
    def n_parameters(self) -> int:
        """Length of the vector."""
        return self.parts[-1][3]

    def new_vector(self) -> Float32Array:
        """float32[n_parameters], not yet set."""
        return aligned_empty(self.n_parameters, VALUE)

    def views(self, vector: Float32Array) -> list[dict[str, Float32Array]]:
        """The parameters of each layer by name, as views into ``vector``."""
        views: list[dict[str, Float32Array]] = [{} for _ in range(self.n_layers)]
        for number, name, start, stop in self.parts:
            views[number][name] = vector[start:stop]
        return views


def gather_network(network: Network) -> Float32Array:
    """Move a network's parameters into one new vector, of which the layers then have views."""
    values = [{name: parameter.values for name, parameter in layer.parameters().items()} for layer in network.layers]
    vector, views = _gathered(ParameterLayout.of(network), values)
    for layer, own in zip(network.layers, views, strict=True):
        layer.bind(own)
    return vector


def gather_states(replica: Replica) -> dict[str, Float32Array]:
    """Move each of the optimiser's state arrays into one new vector, of which the states then have views; by name."""
    layout, vectors = ParameterLayout.of(replica.network), dict[str, Float32Array]()
    for name in replica.states[0].values:
        vectors[name], views = _gathered(layout, [state[name] for state in replica.states])
        for state, own in zip(replica.states, views, strict=True):
            # In the order that all ranks have, which that of the vector need not be.
            state.values[name] = {owner: own[owner] for owner in state[name]}
    return vectors


def _gathered(
    layout: ParameterLayout, values: Sequence[Mapping[str, Float32Array]]
) -> tuple[Float32Array, list[dict[str, Float32Array]]]:
    vector = layout.new_vector()
    views = layout.views(vector)
    for own, before in zip(views, values, strict=True):
        for name, view in own.items():
            view[:] = before[name]
    return vector, views
