"""State of an optimiser: arrays aligned to the parameters of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.network.connections.topology import TopologyChange
from hpc_sparse.network.parameter import Parameter


@dataclass
class OptimizerState:
    """State of SGD with momentum for one layer.

    Attributes
    ----------
    velocity : dict of str to float32[n]
        By the names of the layer's parameters.
    """

    velocity: dict[str, Float32Array]

    @classmethod
    def at_rest(cls, parameters: Mapping[str, Parameter]) -> OptimizerState:
        """The state before the first step."""
        return cls({name: np.zeros(parameter.values.size, VALUE) for name, parameter in parameters.items()})

    def arrays(self) -> dict[str, Float32Array]:
        """All arrays by the names that checkpoints know: ``weight_velocity`` and so on."""
        return {f"{name}_velocity": values for name, values in self.velocity.items()}

    @classmethod
    def from_arrays(cls, parameters: Mapping[str, Parameter], arrays: Mapping[str, Float32Array]) -> OptimizerState:
        """The state from the arrays of a checkpoint.

        Raises
        ------
        ValueError
            They are not those of this optimiser.
        """
        wanted = {f"{name}_velocity" for name in parameters}
        if arrays.keys() != wanted:
            found = ", ".join(sorted(arrays)) or "none"
            raise ValueError(f"optimiser's arrays {found}: expected {', '.join(sorted(wanted))}")
        return cls({name: arrays[f"{name}_velocity"] for name in parameters})

    def follow(self, parameters: Mapping[str, Parameter], changes: Mapping[str, TopologyChange]) -> None:
        """Follow changes of the connections: what is kept keeps its velocity, what has grown starts at rest."""
        for name, parameter in parameters.items():
            self.velocity[name] = carried(parameter.connections, changes, self.velocity[name])

    def scale(self, factor: float) -> None:
        """Multiply by ``factor``, as when the learning rate changes by it."""
        if factor != 1:
            for values in self.velocity.values():
                np.multiply(values, VALUE(factor), out=values)

    def reset(self) -> None:
        """Come to rest."""
        for values in self.velocity.values():
            values.fill(0)

    def copy(self) -> OptimizerState:
        """The same in arrays of its own."""
        return OptimizerState({name: values.copy() for name, values in self.velocity.items()})


def carried(owner: str | None, changes: Mapping[str, TopologyChange], values: Float32Array) -> Float32Array:
    """Values of a parameter brought over changes of a layer's connections; 0 for what has grown.

    Parameters
    ----------
    owner : str or None
        Name of the connections that the parameter belongs to; None: one value per neuron.
    changes : dict of str to TopologyChange
        By the names of the connections; without those that stayed.
    values : float32[n]
    """
    if owner is not None:
        change = changes.get(owner)
        return values if change is None else change.carry(values)
    # All connections of a layer lead to the same neurons.
    for change in changes.values():
        return change.carry_neurons(values)
    return values
