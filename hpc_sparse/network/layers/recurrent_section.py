"""Keys of recurrent layers in tables ``[[network.layers]]``."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from hpc_sparse.config import LayerSection, RunConfig
from hpc_sparse.config.layers import CONNECTION_KINDS
from hpc_sparse.config.section import Share
from hpc_sparse.network.layers.plain_runs import refuses_all_but_plain_runs


class RecurrentSection(LayerSection):
    """A recurrent layer."""

    reads_sequences: ClassVar[bool] = True
    reads_tokens: ClassVar[bool] = True

    cell: Literal["gru", "tanh"] = "gru"
    """gru: gated recurrent unit, the reset gate after the recurrent product. tanh: one sum for each neuron."""

    output: Literal["last", "all"] = "last"
    """The state after the last step, or those of all steps, for another recurrent layer or for outputs of each step."""

    recurrent_connections: str | None = None
    """Storage of the connections from the state, by default that of the others; kinds with keys only for both."""

    recurrent_density: Share | None = None
    """Density of the connections from the state, by default by the same keys as that of the others."""

    @property
    def gives_sequences(self) -> bool:
        """Whether all states go on."""
        return self.output == "all"

    @model_validator(mode="after")
    def _has_no_activation(self) -> Self:
        for key in ("activation", "alpha", "dropout"):
            if getattr(self, key) is not None:
                raise ValueError(f'{key} = {getattr(self, key)}: kind = "recurrent" has none')
        return self

    @model_validator(mode="after")
    def _suits_its_state(self) -> Self:
        """Blocks and groups are those of both maps, and fit the state."""
        own = self.of_recurrent
        if not {self.connections, own.connections} <= CONNECTION_KINDS.keys():  # said where the keys are checked
            return self
        kind = self.kind_of_connections
        keys = [*kind.keys, *own.kind_of_connections.keys]
        if keys and own.connections != self.connections:
            raise ValueError(
                f'recurrent_connections = "{own.connections}": must be that of connections, "{self.connections}", '
                f"where either has the key {keys[0]}"
            )
        if any(self.n % side for side in self.unit):
            raise ValueError(f"{keys[0]} = {list(self.unit)}: must divide n = {self.n}, the width of the state")
        if kind.refuses_section(self) is None and (refusal := kind.refuses_shape((self.n, self.n), self)):
            raise ValueError(refusal)
        return self

    @property
    def of_recurrent(self) -> Self:
        """The same with the keys of the connections from the state in the place of the others'."""
        connections, density = self.recurrent_connections or self.connections, self.recurrent_density or self.density
        return self.model_copy(update={"connections": connections, "density": density})

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Anything but float32, removal of neurons, reserves, and topologies for layers with one map."""
        return refuses_all_but_plain_runs("recurrent", config)
