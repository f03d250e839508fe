"""Recurrent layers: a cell that goes through the steps of a sequence, with two sparse maps.

A batch has a place for each step. All columns of a step are samples, so that the sums of the input map are one product
over all steps, and so are both gradients. Only the recurrent product goes step by step. Back-propagation goes through
all steps; a sequence begins with a state of 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from hpc_sparse.config import LayerSection, NetworkSection
from hpc_sparse.dtypes import VALUE, Float32Array, Float64Array, Int32Array
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.network.activations import LINEAR
from hpc_sparse.network.blueprint import STREAM_NUMBERS, LayerBlueprint
from hpc_sparse.network.connections.protocol import INPUT, Connections, Epilogue, Gate, exact_matrix
from hpc_sparse.network.connections.registry import connections_from_state, random_connections
from hpc_sparse.network.connections.state import Setting
from hpc_sparse.network.connections.topology import Topology, erdos_renyi_density
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.alone import forward_alone_by_places
from hpc_sparse.network.layers.cells import CELLS, Cell
from hpc_sparse.network.layers.protocol import Saved, SavedArray
from hpc_sparse.network.layers.reading import READINGS, SETTING, TOKENS, NumbersRead, Reading
from hpc_sparse.network.layers.recurrent_section import RecurrentSection
from hpc_sparse.network.layers.recurrent_steps import Steps, checked_settings, sizes
from hpc_sparse.network.layers.state import PLACES, LayerState
from hpc_sparse.network.parameter import Parameter
from hpc_sparse.network.sinks import Sink
from hpc_sparse.network.tiles import BatchShape, Tiles
from hpc_sparse.network.tokens import Batch

RECURRENT = "recurrent"
"""Name of the connections from the state before a step."""

NAMES = {INPUT: ("weight", "bias"), RECURRENT: ("recurrent_weight", "recurrent_bias")}
"""Names of the parameters of each map: the weights, and the biases of its rows."""


@dataclass
class RecurrentLayer:
    """A layer ``h_t = cell(W x_t + b, U h_(t-1) + c, h_(t-1))``.

    Attributes
    ----------
    incoming, recurrent : Connections
        The maps W and U to the gates of all neurons.
    bias, recurrent_bias : float32[n_gates * n_out]
        b and c.
    cell : type of Cell
    output : "last" or "all"
        Which states go on.
    n_places : int
        Steps of a sequence.
    reading : Reading
        How it reads its inputs.
    """

    kind: ClassVar[str] = "recurrent"
    section: ClassVar[type[LayerSection]] = RecurrentSection
    keeps_output: ClassVar[bool] = False
    weights: ClassVar[Mapping[str, str]] = {name: own[0] for name, own in NAMES.items()}
    incoming: Connections
    recurrent: Connections
    bias: Float32Array
    recurrent_bias: Float32Array
    cell: type[Cell]
    output: str
    n_places: int
    reading: Reading = field(default_factory=NumbersRead)

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Self:
        """A new layer, its biases 0."""
        maps = cls.maps(blueprint)
        incoming, recurrent = (random_connections(maps[name]) for name in NAMES)
        bias, recurrent_bias = (np.zeros(each.shape[0], VALUE) for each in (incoming, recurrent))
        return cls.of_maps(blueprint, incoming, recurrent, bias, recurrent_bias)

    @classmethod
    def of_maps(
        cls,
        blueprint: LayerBlueprint,
        incoming: Connections,
        recurrent: Connections,
        bias: Float32Array,
        recurrent_bias: Float32Array,
    ) -> Self:
        """A layer with these maps, as the blueprint has it in all else."""
        section = _section(blueprint)
        cell, reading = CELLS[section.cell], READINGS[blueprint.reads_tokens]()
        return cls(incoming, recurrent, bias, recurrent_bias, cell, section.output, blueprint.n_places, reading)

    @classmethod
    def maps(cls, blueprint: LayerBlueprint) -> Mapping[str, LayerBlueprint]:
        """Both maps; that from the state has random streams of its own."""
        section, (n, n_in) = _section(blueprint), blueprint.shape
        n_gates, own = CELLS[section.cell].n_gates, section.of_recurrent
        density = own.kind_of_connections.density_of(own, n)
        if density is None and blueprint.epsilon is not None:
            density = erdos_renyi_density(blueprint.epsilon, n, n)
        return {
            INPUT: replace(blueprint, shape=(n_gates * n, n_in)),
            RECURRENT: replace(
                blueprint,
                number=blueprint.number + STREAM_NUMBERS,
                shape=(n_gates * n, n),
                density=density or blueprint.density,
                section=own,
            ),
        }

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in)."""
        return self.recurrent.shape[1], self.incoming.shape[1]

    @property
    def activation(self) -> str:
        """Name of the cell."""
        return self.cell.name

    @property
    def reads_tokens(self) -> bool:
        """Whether its inputs are tokens."""
        return self.reading.tokens

    def connections(self) -> Mapping[str, Connections]:
        """Both maps."""
        return {INPUT: self.incoming, RECURRENT: self.recurrent}

    def parameters(self) -> Mapping[str, Parameter]:
        """Weights, which decay, and biases of both maps."""
        values = (self.incoming.weight, self.bias), (self.recurrent.weight, self.recurrent_bias)
        found = dict[str, Parameter]()
        for (owner, (weight_name, bias_name)), (weight, bias) in zip(NAMES.items(), values, strict=True):
            found |= {weight_name: Parameter(weight, owner, True), bias_name: Parameter(bias, None, False)}
        return found

    def settings(self) -> Mapping[str, Setting]:
        """Cell, output and steps, and whether tokens are read."""
        return _settings(self.cell.name, self.output, self.n_places, tokens=self.reads_tokens)

    @classmethod
    def planned_settings(cls, blueprint: LayerBlueprint) -> Mapping[str, Setting]:
        """Those of a new layer."""
        section = _section(blueprint)
        return _settings(section.cell, section.output, blueprint.n_places, tokens=blueprint.reads_tokens)

    def bind(self, values: Mapping[str, Float32Array]) -> None:
        """Go on with other arrays for parameters, of the same sizes."""
        self.incoming.weight = values.get("weight", self.incoming.weight)
        self.recurrent.weight = values.get("recurrent_weight", self.recurrent.weight)
        self.bias = values.get("bias", self.bias)
        self.recurrent_bias = values.get("recurrent_bias", self.recurrent_bias)

    def rewire(
        self,
        shape: tuple[int, int],  # noqa: ARG002  (its neurons stay)
        topologies: Mapping[str, Topology],
        values: Mapping[str, Float32Array],
    ) -> None:
        """Go on with other connections between the same neurons."""
        for name, topology in topologies.items():
            assert topology.shape == self.connections()[name].topology.shape, (name, topology.shape)
        self.incoming = self.incoming.rewired(topologies.get(INPUT, self.incoming.topology), values["weight"])
        topology = topologies.get(RECURRENT, self.recurrent.topology)
        self.recurrent = self.recurrent.rewired(topology, values["recurrent_weight"])
        self.bias, self.recurrent_bias = values["bias"], values["recurrent_bias"]

    def copy(self) -> Self:
        """The same with parameters of its own."""
        return replace(
            self,
            incoming=self.incoming.copy(),
            recurrent=self.recurrent.copy(),
            bias=self.bias.copy(),
            recurrent_bias=self.recurrent_bias.copy(),
            reading=READINGS[self.reads_tokens](),
        )

    def shape_out(self, shape: BatchShape) -> BatchShape:
        """One place, or as many as there are steps."""
        return shape if self.output == "all" else shape._replace(n_places=1)

    def saved_arrays(self, shape: BatchShape) -> Mapping[str, SavedArray]:
        """Gates and states of all steps, and what a step of the backward pass hands on."""
        own = sizes(self.shape[0], shape, self.cell)
        return {name: SavedArray((size,), VALUE) for name, size in own.items()}

    @classmethod
    def saved_bytes(cls, n_out: int, shape: BatchShape, settings: Mapping[str, Setting]) -> int:
        """Bytes of these arrays."""
        return sum(sizes(n_out, shape, CELLS[str(settings["cell"])]).values()) * np.dtype(VALUE).itemsize

    def forward(
        self,
        source: Batch,
        out: Tiles,
        saved: Saved | None = None,
        dropout: Dropout | None = None,  # noqa: ARG002
        *,
        goes_on: bool = False,
    ) -> None:
        """The state after the last step, or after each; a recurrent layer has no dropout."""
        if saved is None:
            room = sizes(self.shape[0], source.batch, self.cell)
            saved = {name: aligned_empty(size, VALUE) for name, size in room.items()}
        steps, slope = self._steps(source, saved), VALUE(LINEAR)
        self.reading.product(self.incoming, source, Epilogue(self.bias, slope), steps.gates)
        steps.states.place(0).values[:] = steps.states.place(source.n_places).values if goes_on else 0
        fed_back = Epilogue(self.recurrent_bias, slope)
        for step in range(source.n_places):
            before, products = steps.states.place(step), steps.products_of(step)
            self.recurrent.product(before, fed_back, products)
            self.cell.forward(steps.gates.place(step), products, before, steps.states.place(step + 1))
            steps.hold(source.lengths, step)
        n = source.n_places
        out.values[:] = steps.states.places(1 if self.output == "all" else n, n + 1).values

    def forward_alone(self, source: Float32Array, out: Float32Array) -> None:
        """The bits of :meth:`forward` for one sample, whose steps lie one after the other."""
        forward_alone_by_places(self, source, out)

    def gate(self, saved: Saved, dropout: Dropout | None) -> Gate | None:  # noqa: ARG002
        """None: it applies its own derivative."""
        return None

    def backward(
        self,
        delta: Tiles,
        source: Batch,
        saved: Saved,
        gate_below: Gate | None,
        sink: Sink | None,
        out: Tiles | None,
    ) -> None:
        """Back through all steps, then the gradients of both maps and the deltas for the layer below."""
        steps = self._steps(source, saved)
        self._back_through_time(steps, delta, source.lengths)
        if sink is not None:
            target = sink.map(self.recurrent.weight, self.recurrent_bias, NAMES[RECURRENT])
            before = steps.states.places(0, source.n_places)
            self.recurrent.gradient(steps.recurrent_deltas, before, target)
        if sink is None:
            if out is not None:
                self.incoming.transposed(steps.gates, gate_below, out)
            return
        target = sink.map(self.incoming.weight, self.bias, NAMES[INPUT])
        if out is None:
            self.reading.gradient(self.incoming, steps.gates, source, target)
        else:
            assert isinstance(source, Tiles)
            self.incoming.transposed_and_gradient(steps.gates, source, gate_below, target, out)

    def _back_through_time(self, steps: Steps, delta: Tiles, lengths: Int32Array | None) -> None:
        """From deltas of the output to those of both maps' sums of all steps."""
        n = steps.gates.n_places
        steps.through.values.fill(0)
        steps.carried.values.fill(0)
        deltas, passed_on = steps.recurrent_deltas, self.recurrent.adjoint()
        held = None if lengths is None else steps.through.like(steps.through.n_neurons)
        if held is not None:
            held.values.fill(0)
        for step in reversed(range(n)):
            above = delta.place(step) if self.output == "all" else delta if step == n - 1 else None
            states = steps.states.place(step), steps.states.place(step + 1)
            gates, products = steps.gates.place(step), steps.products_of(step)
            steps.hold_deltas(lengths, step, above, held)
            self.cell.backward(gates, products, *states, above, steps.through, steps.carried)
            if step:
                passed_on(deltas.place(step), steps.through)

    def signals(self, delta: Tiles, source: Batch, saved: Saved) -> Mapping[str, tuple[Batch, Tiles]]:  # noqa: ARG002
        """Those of both maps, of all steps."""
        steps = self._steps(source, saved)
        before = steps.states.places(0, source.n_places)
        return {INPUT: (source, steps.gates), RECURRENT: (before, steps.recurrent_deltas)}

    def _steps(self, source: Batch, saved: Saved) -> Steps:
        return Steps.of(saved, self.shape[0], source.batch, source.width, self.cell)

    def exact(
        self,
        source: Float64Array,
        values: Mapping[str, Float64Array],
        factor: Float64Array | None,  # noqa: ARG002
        bend: Float64Array | None = None,  # noqa: ARG002
        lengths: Int32Array | None = None,
    ) -> tuple[Float64Array, Float64Array | None]:
        """The states in float64, step by step."""
        incoming = exact_matrix(self.incoming, values["weight"])
        recurrent = exact_matrix(self.recurrent, values["recurrent_weight"])
        states = [np.zeros((self.shape[0], source.shape[2]))]
        for step, own in enumerate(source):
            sums = incoming @ own + values["bias"][:, None]
            products = recurrent @ states[-1] + values["recurrent_bias"][:, None]
            after = self.cell.exact(sums, products, states[-1])
            states.append(after if lengths is None else np.where(step < lengths, after, states[-1]))
        return np.array(states[1:] if self.output == "all" else states[-1:]), None

    @classmethod
    def parameter_sizes(
        cls, shape: tuple[int, int], n_values: Mapping[str, int], settings: Mapping[str, Setting]
    ) -> Mapping[str, int]:
        """A weight for each connection, a bias for each gate of either map."""
        cell, *_ = checked_settings(settings)
        sizes = dict[str, int]()
        for owner, (weight_name, bias_name) in NAMES.items():
            sizes |= {weight_name: n_values[owner], bias_name: cell.n_gates * shape[0]}
        return sizes

    @classmethod
    def from_state(
        cls,
        state: LayerState,
        config: NetworkSection,  # noqa: ARG003
        number: int,  # noqa: ARG003
        *,
        is_last: bool,
        acting_share: float,
    ) -> Self:
        """The layer again."""
        cell, output, n_places, tokens = checked_settings(state.settings)
        if is_last:
            raise ValueError(f'kind = "{cls.kind}": not in the last layer, whose sums are the outputs')
        n, n_in = state.shape
        state.check_shapes({INPUT: (cell.n_gates * n, n_in), RECURRENT: (cell.n_gates * n, n)})
        values = state.parameters
        incoming, recurrent = (
            connections_from_state(state.connections[owner], values[name], acting_share)
            for owner, (name, _) in NAMES.items()
        )
        biases = values["bias"], values["recurrent_bias"]
        return cls(incoming, recurrent, *biases, cell, output, n_places, READINGS[tokens]())


def _settings(cell: str, output: str, n_places: int, *, tokens: bool) -> dict[str, Setting]:
    return {"cell": cell, "output": output, PLACES: n_places, **({SETTING: TOKENS} if tokens else {})}


def _section(blueprint: LayerBlueprint) -> RecurrentSection:
    assert isinstance(blueprint.section, RecurrentSection), blueprint.section
    return blueprint.section
