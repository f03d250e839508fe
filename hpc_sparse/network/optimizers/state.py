"""State of an optimiser: arrays aligned to the parameters of a layer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from hpc_sparse.dtypes import TYPE_NAMES, VALUE, AnyArray, Float32Array
from hpc_sparse.network.bfloat16 import as_type
from hpc_sparse.network.connections.topology import TopologyChange
from hpc_sparse.network.parameter import Parameter

StateTypes: TypeAlias = Mapping[str, type[np.generic]]
"""Names of state arrays with the types of those of connections; those of neurons are float32."""

ONE_EACH: Mapping[str, int] = MappingProxyType({})
"""One value of each unit, whatever the connections."""


@dataclass
class OptimizerState:
    """State of an optimiser for one layer.

    Attributes
    ----------
    values : dict of str to dict of str to float32[n]
        By the names of the optimiser's state arrays, then by those of the layer's parameters. bfloat16 (in uint16)
        where the optimiser keeps a state of connections so.
    """

    values: dict[str, dict[str, AnyArray]]

    @classmethod
    def at_rest(cls, parameters: Mapping[str, Parameter], types: StateTypes) -> OptimizerState:
        """The state before the first step, with state arrays of these names."""
        return cls(
            {
                name: {owner: np.zeros(each.values.size, type_of(each, kind)) for owner, each in parameters.items()}
                for name, kind in types.items()
            }
        )

    def at_rest_again(self, parameters: Mapping[str, Parameter]) -> OptimizerState:
        """A state as before the first step, with the same state arrays of other parameters of the same names."""
        return OptimizerState(
            {
                name: {owner: np.zeros(each.values.size, own[owner].dtype) for owner, each in parameters.items()}
                for name, own in self.values.items()
            }
        )

    def __getitem__(self, name: str) -> dict[str, AnyArray]:
        """One of the state arrays, by the parameters' names."""
        return self.values[name]

    def of(self, parameter: str) -> dict[str, AnyArray]:
        """The state arrays of a parameter by name."""
        return {name: own[parameter] for name, own in self.values.items()}

    def flat(self, but: Collection[str] = ()) -> list[AnyArray]:
        """All arrays, or all ``but`` those of some names, in an order that every rank has."""
        return [values for name, own in self.values.items() if name not in but for values in own.values()]

    def arrays(self) -> dict[str, AnyArray]:
        """All arrays by the names that checkpoints know: ``weight_velocity`` and so on."""
        return {stored_name(owner, name): own[owner] for name, own in self.values.items() for owner in own}

    @classmethod
    def from_arrays(
        cls,
        parameters: Mapping[str, Parameter],
        arrays: Mapping[str, AnyArray],
        types: StateTypes,
        added: Iterable[str] = (),
        ignored: Iterable[str] = (),
    ) -> OptimizerState:
        """The state from the arrays of a checkpoint, brought to these types.

        Parameters
        ----------
        parameters : dict of str to Parameter
            Of the layer.
        arrays : dict of str to float32[n] or bfloat16
        types : dict of str to type
            State arrays that must be there.
        added : iterable of str
            Those that begin at 0 if they are not there; float32.
        ignored : iterable of str
            Those that may be there without being wanted.

        Raises
        ------
        ValueError
            They are not those of an optimiser with state arrays of these names.
        """
        wanted = {name: {owner: stored_name(owner, name) for owner in parameters} for name in (*types, *added)}
        expected = {stored_name(owner, name) for name in types for owner in parameters}
        others = {stored_name(owner, name) for name in (*added, *ignored) for owner in parameters}
        if not expected <= arrays.keys() <= expected | others:
            found = ", ".join(sorted(arrays)) or "none"
            raise ValueError(f"optimiser's arrays {found}: expected {', '.join(sorted(expected)) or 'none'}")
        return cls(
            {
                name: {
                    owner: as_type(arrays[stored], type_of(parameters[owner], types.get(name, VALUE)))
                    if stored in arrays
                    else np.zeros_like(parameters[owner].values)
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


def type_of(parameter: Parameter, kind: type[np.generic]) -> type[np.generic]:
    """Type of a parameter's state array that has the type ``kind`` for connections."""
    return VALUE if parameter.connections is None else kind


def type_names(arrays: Mapping[str, AnyArray]) -> dict[str, str]:
    """Names of the types of a layer's state arrays, by the names that checkpoints know."""
    return {name: TYPE_NAMES[values.dtype.type] for name, values in arrays.items()}


def stored_name(parameter: str, name: str) -> str:
    """Name in checkpoints of the state array ``name`` of a parameter."""
    return f"{parameter}_{name}"


def arrays_at_rest(values: Mapping[str, Float32Array], types: StateTypes) -> dict[str, Float32Array]:
    """The arrays of a state before the first step, as checkpoints know them, for parameters given by name.

    All are float32; whoever continues brings them to the types that it wants.
    """
    return {stored_name(owner, name): np.zeros_like(own) for name in types for owner, own in values.items()}


def carried(
    owner: str | None,
    changes: Mapping[str, TopologyChange],
    values: AnyArray,
    n_each: Mapping[str, int] = ONE_EACH,
) -> AnyArray:
    """Values of a parameter brought over changes of a layer's connections; 0 for what has grown.

    Parameters
    ----------
    owner : str or None
        Name of the connections that the parameter belongs to; None: one value per neuron.
    changes : dict of str to TopologyChange
        By the names of the connections; without those that stayed.
    values : float32[n] or bfloat16
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
