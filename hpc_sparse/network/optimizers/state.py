"""State of an optimiser: arrays aligned to the parameters of a layer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.network.connections.topology import TopologyChange
from hpc_sparse.network.parameter import Parameter

ONE_EACH: Mapping[str, int] = MappingProxyType({})
"""One value of each unit, whatever the connections."""


@dataclass
class OptimizerState:
    """State of an optimiser for one layer.

    Attributes
    ----------
    values : dict of str to dict of str to float32[n]
        By the names of the optimiser's state arrays, then by those of the layer's parameters.
    """

    values: dict[str, dict[str, Float32Array]]

    @classmethod
    def at_rest(cls, parameters: Mapping[str, Parameter], names: Iterable[str]) -> OptimizerState:
        """The state before the first step, with state arrays of these names."""
        return cls(
            {
                name: {owner: np.zeros(parameter.values.size, VALUE) for owner, parameter in parameters.items()}
                for name in names
            }
        )

    def __getitem__(self, name: str) -> dict[str, Float32Array]:
        """One of the state arrays, by the parameters' names."""
        return self.values[name]

    def of(self, parameter: str) -> dict[str, Float32Array]:
        """The state arrays of a parameter by name."""
        return {name: own[parameter] for name, own in self.values.items()}

    def flat(self, but: Collection[str] = ()) -> list[Float32Array]:
        """All arrays, or all ``but`` those of some names, in an order that every rank has."""
        return [values for name, own in self.values.items() if name not in but for values in own.values()]

    def arrays(self) -> dict[str, Float32Array]:
        """All arrays by the names that checkpoints know: ``weight_velocity`` and so on."""
        return {stored_name(owner, name): own[owner] for name, own in self.values.items() for owner in own}

    @classmethod
    def from_arrays(
        cls,
        parameters: Mapping[str, Parameter],
        arrays: Mapping[str, Float32Array],
        names: Iterable[str],
        added: Iterable[str] = (),
        ignored: Iterable[str] = (),
    ) -> OptimizerState:
        """The state from the arrays of a checkpoint.

        Parameters
        ----------
        parameters : dict of str to Parameter
            Of the layer.
        arrays : dict of str to float32[n]
        names : iterable of str
            State arrays that must be there.
        added : iterable of str
            Those that begin at 0 if they are not there.
        ignored : iterable of str
            Those that may be there without being wanted.

        Raises
        ------
        ValueError
            They are not those of an optimiser with state arrays of these names.
        """
        wanted = {name: {owner: stored_name(owner, name) for owner in parameters} for name in (*names, *added)}
        expected = {stored_name(owner, name) for name in names for owner in parameters}
        others = {stored_name(owner, name) for name in (*added, *ignored) for owner in parameters}
        if not expected <= arrays.keys() <= expected | others:
            found = ", ".join(sorted(arrays)) or "none"
            raise ValueError(f"optimiser's arrays {found}: expected {', '.join(sorted(expected)) or 'none'}")
        return cls(
            {
                name: {
                    owner: arrays[stored] if stored in arrays else np.zeros_like(parameters[owner].values)
                    for owner, stored in own.items()
                }
                for name, own in wanted.items()
            }
        )

    def follow(
        self,
        parameters: Mapping[str, Parameter],
        changes: Mapping[str, TopologyChange],
        n_each: Mapping[str, int] = ONE_EACH,
    ) -> None:
        """Follow changes of the connections: what is kept keeps its state, what has grown starts at rest.

        ``n_each`` is the number of values of a unit, by the names of the connections.
        """
        for own in self.values.values():
            for name, parameter in parameters.items():
                own[name] = carried(parameter.connections, changes, own[name], n_each)

    def reset(self, names: Collection[str]) -> None:
        """Set the state arrays of these names to 0."""
        for name in names:
            for values in self.values[name].values():
                values.fill(0)

    def copy(self) -> OptimizerState:
        """The same in arrays of its own."""
        return OptimizerState(
            {name: {owner: values.copy() for owner, values in own.items()} for name, own in self.values.items()}
        )

    def shared(self) -> OptimizerState:
        """Another state with the same arrays, which it can exchange for others."""
        return OptimizerState({name: dict(own) for name, own in self.values.items()})


def stored_name(parameter: str, name: str) -> str:
    """Name in checkpoints of the state array ``name`` of a parameter."""
    return f"{parameter}_{name}"


def arrays_at_rest(values: Mapping[str, Float32Array], names: Iterable[str]) -> dict[str, Float32Array]:
    """The arrays of a state before the first step, as checkpoints know them, for parameters given by name."""
    return {stored_name(owner, name): np.zeros_like(own) for name in names for owner, own in values.items()}


def carried(
    owner: str | None,
    changes: Mapping[str, TopologyChange],
    values: Float32Array,
    n_each: Mapping[str, int] = ONE_EACH,
) -> Float32Array:
    """Values of a parameter brought over changes of a layer's connections; 0 for what has grown.

    Parameters
    ----------
    owner : str or None
        Name of the connections that the parameter belongs to; None: one value per neuron.
    changes : dict of str to TopologyChange
        By the names of the connections; without those that stayed.
    values : float32[n]
    n_each : dict of str to int
        Values of a unit, by the names of the connections; one where it is not said.
    """
    if owner is not None:
        change = changes.get(owner)
        return values if change is None else change.carry(values, n_each.get(owner, 1))
    # All connections of a layer lead to the same neurons.
    for change in changes.values():
        return change.carry_neurons(values)
    return values
