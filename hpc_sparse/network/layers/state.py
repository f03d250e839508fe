"""A layer with its optimiser state as a file holds it: numbers, texts and arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from hpc_sparse.dtypes import AnyArray, Float32Array, Int32Array, PointerArray
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.connections.state import ConnectionState, Setting

PLACES = "places"
"""Setting of layers that read several places of each sample, such as the steps of a sequence: how many."""


class Extent(NamedTuple):
    """Items of an array that are here: from ``start`` on, of the ``n_items`` that the whole array has."""

    start: int
    n_items: int


@dataclass(frozen=True)
class LayerState:
    """A layer with its optimiser state.

    Attributes
    ----------
    kind : str
        A key of :data:`hpc_sparse.network.layers.registry.LAYERS`.
    shape : (n_out, n_in)
        In neurons.
    activation : str
    connections : dict of str to ConnectionState
        By their names in the layer.
    parameters : dict of str to float32[n]
        What is learned, the weights of the connections included.
    states : dict of str to float32[n]
        Of the optimiser; each name is a parameter's with an ending: ``weight_velocity``.
    settings : dict of str to number or text
        Beyond kind and activation.
    extents : dict of str to Extent
        Of one part of a layer, whose shapes and numbers of units are those of the whole: which items of each array
        these are, by the names of :meth:`arrays`. Empty where the arrays are whole.
    """

    kind: str
    shape: tuple[int, int]
    activation: str
    connections: Mapping[str, ConnectionState]
    parameters: Mapping[str, Float32Array]
    states: Mapping[str, Float32Array]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    extents: Mapping[str, Extent] = field(default_factory=dict)

    @classmethod
    def sparse(
        cls,
        shape: tuple[int, int],
        activation: str,
        indptr: PointerArray,
        indices: Int32Array,
        weight: Float32Array,
        bias: Float32Array,
        weight_velocity: Float32Array | None = None,
        bias_velocity: Float32Array | None = None,
    ) -> LayerState:
        """A sparse layer of unstructured connections; velocities are 0 where none are given.

        Parameters
        ----------
        shape : (n_out, n_in)
        activation : str
        indptr : int[n_out + 1]
            Where each neuron's incoming connections start.
        indices : int32[n_connections]
            Where they come from, increasing within a neuron.
        weight, weight_velocity : float32[n_connections]
        bias, bias_velocity : float32[n_out]
        """
        states = {
            "weight_velocity": np.zeros_like(weight) if weight_velocity is None else weight_velocity,
            "bias_velocity": np.zeros_like(bias) if bias_velocity is None else bias_velocity,
        }
        incoming = ConnectionState("csr", shape, indices.size, {"indptr": indptr, "indices": indices})
        return cls("sparse", shape, activation, {INPUT: incoming}, {"weight": weight, "bias": bias}, states)

    @property
    def n_places(self) -> int:
        """Places of each sample that it reads; 1 if it takes any number."""
        return places_of(self.settings)

    def check_shapes(self, shapes: Mapping[str, tuple[int, int]]) -> None:
        """Check the shapes (n_out, n_in) of connections, by their names, on which kernels rely.

        Raises
        ------
        ValueError
        """
        for name, (n_out, n_in) in shapes.items():
            found = self.connections[name].shape
            if found != (n_out, n_in):
                raise ValueError(f"connections {name} have {found[0]} x {found[1]} neurons: expected {n_out} x {n_in}")

    def arrays(self) -> dict[str, AnyArray]:
        """All arrays by the names that files have: ``connections/input/indptr``, ``parameters/weight``."""
        arrays: dict[str, AnyArray] = {
            f"connections/{name}/{array_name}": array
            for name, connections in self.connections.items()
            for array_name, array in connections.structure.items()
        }
        arrays |= {f"parameters/{name}": array for name, array in self.parameters.items()}
        return arrays | {f"states/{name}": array for name, array in self.states.items()}

    def extent(self, name: str) -> Extent:
        """Items that are here of one of :meth:`arrays`: all of them, unless the layer is in parts."""
        return self.extents.get(name) or Extent(0, self.arrays()[name].shape[0])


def places_of(settings: Mapping[str, Setting]) -> int:
    """Places of each sample by a layer's settings, which need not have been checked."""
    number = settings.get(PLACES, 1)
    return number if isinstance(number, int) and number > 0 else 1
