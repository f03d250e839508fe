"""What layers have in common whose one map all places of a sample share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from hpc_sparse.dtypes import Float32Array
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.protocol import INPUT, Connections, Gate
from hpc_sparse.network.connections.state import Setting
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.protocol import Saved
from hpc_sparse.network.parameter import Parameter
from hpc_sparse.network.sinks import Sink
from hpc_sparse.network.tiles import BatchShape, Tiles

NAMES = ("weight", "bias")
"""Names of the parameters."""


@dataclass
class OneMap:
    """A map to the layer below and a bias for each neuron, without settings in files.

    Attributes
    ----------
    incoming : Connections
        The map W.
    bias : float32[n_out]
    """

    weights: ClassVar[Mapping[str, str]] = {INPUT: "weight"}
    incoming: Connections
    bias: Float32Array

    @classmethod
    def maps(cls, blueprint: LayerBlueprint) -> Mapping[str, LayerBlueprint]:
        """The one map."""
        return {INPUT: blueprint}

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in)."""
        return self.incoming.shape

    @property
    def n_places(self) -> int:
        """1: it takes any number of places."""
        return 1

    @property
    def reads_tokens(self) -> bool:
        """False: its inputs are numbers."""
        return False

    def connections(self) -> Mapping[str, Connections]:
        """The one map."""
        return {INPUT: self.incoming}

    def parameters(self) -> Mapping[str, Parameter]:
        """Weights, which decay, and biases."""
        return {"weight": Parameter(self.incoming.weight, INPUT, True), "bias": Parameter(self.bias, None, False)}

    def settings(self) -> Mapping[str, Setting]:
        """None."""
        return {}

    def bind(self, values: Mapping[str, Float32Array]) -> None:
        """Go on with other arrays for parameters, of the same sizes."""
        self.incoming.weight = values.get("weight", self.incoming.weight)
        self.bias = values.get("bias", self.bias)

    def rewire(
        self, shape: tuple[int, int], topologies: Mapping[str, Topology], values: Mapping[str, Float32Array]
    ) -> None:
        """Go on with other connections."""
        topology = topologies.get(INPUT, self.incoming.topology)
        self.incoming, self.bias = self.incoming.rewired(topology, values["weight"]), values["bias"]
        assert self.incoming.shape == shape, (self.incoming.shape, shape)

    def copy(self) -> Self:
        """The same with parameters of its own."""
        return replace(self, incoming=self.incoming.copy(), bias=self.bias.copy())

    def shape_out(self, shape: BatchShape) -> BatchShape:
        """That of the inputs: all places have the same map."""
        return shape

    def signals(self, delta: Tiles, source: Tiles, saved: Saved) -> Mapping[str, tuple[Tiles, Tiles]]:  # noqa: ARG002
        """Those of the one map; a backward pass has left them in ``delta``."""
        return {INPUT: (source, delta)}

    def pass_back(
        self, delta: Tiles, source: Tiles, gate_below: Gate | None, sink: Sink | None, out: Tiles | None
    ) -> None:
        """Deltas for the layer below and gradients from those of the sums, in one pass where both are wanted."""
        if sink is None:
            if out is not None:
                self.incoming.transposed(delta, gate_below, out)
            return
        target = sink.map(self.incoming.weight, self.bias, NAMES)
        if out is None:
            self.incoming.gradient(delta, source, target)
        else:
            self.incoming.transposed_and_gradient(delta, source, gate_below, target, out)

    @classmethod
    def planned_settings(cls, blueprint: LayerBlueprint) -> Mapping[str, Setting]:  # noqa: ARG003
        """None."""
        return {}

    @classmethod
    def parameter_sizes(
        cls, shape: tuple[int, int], n_values: Mapping[str, int], settings: Mapping[str, Setting]
    ) -> Mapping[str, int]:
        """A weight for each connection, a bias for each neuron."""
        if settings:
            raise ValueError(f"setting {min(settings)}: expected none")
        return {"weight": n_values[INPUT], "bias": shape[0]}
