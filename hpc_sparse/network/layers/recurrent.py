"""Recurrent layers: a cell that goes through the steps of a sequence, with two sparse maps.

A batch has a place for each step. All columns of a step are samples, so that the sums of the input map are one product
over all steps, and so are both gradients. Only the recurrent product goes step by step. Back-propagation goes through
all steps; a sequence begins with a state of 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from hpc_sparse.config import LayerSection, NetworkSection
from hpc_sparse.dtypes import VALUE, Float32Array, Float64Array
from hpc_sparse.errors import quoted
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
from hpc_sparse.network.layers.recurrent_section import RecurrentSection
from hpc_sparse.network.layers.state import PLACES, LayerState
from hpc_sparse.network.parameter import Parameter
from hpc_sparse.network.sinks import Sink
from hpc_sparse.network.tiles import BatchShape, Tiles

RECURRENT = "recurrent"
"""Name of the connections from the state before a step."""

NAMES = {INPUT: ("weight", "bias"), RECURRENT: ("recurrent_weight", "recurrent_bias")}
"""Names of the parameters of each map: the weights, and the biases of its rows."""

OUTPUTS = ("last", "all")


class Steps(NamedTuple):
    """The arrays of a pass over a sequence, as tiles.

    Attributes
    ----------
    gates, products : Tiles
        Of the cell's gates: what :meth:`Cell.forward` and :meth:`Cell.backward` leave there.
    states : Tiles
        Before the first step, then after each.
    through, carried : Tiles
        Of one step, for the backward pass.
    """

    gates: Tiles
    products: Tiles
    states: Tiles
    through: Tiles
    carried: Tiles


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

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Self:
        """A new layer, its biases 0."""
        maps, section = cls.maps(blueprint), _section(blueprint)
        incoming, recurrent = (random_connections(maps[name]) for name in NAMES)
        bias, recurrent_bias = (np.zeros(each.shape[0], VALUE) for each in (incoming, recurrent))
        cell = CELLS[section.cell]
        return cls(incoming, recurrent, bias, recurrent_bias, cell, section.output, blueprint.n_places)

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
        """Cell, output and steps."""
        return {"cell": self.cell.name, "output": self.output, PLACES: self.n_places}

    @classmethod
    def planned_settings(cls, blueprint: LayerBlueprint) -> Mapping[str, Setting]:
        """Those of a new layer."""
        section = _section(blueprint)
        return {"cell": section.cell, "output": section.output, PLACES: blueprint.n_places}

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
        )

    def shape_out(self, shape: BatchShape) -> BatchShape:
        """One place, or as many as there are steps."""
        return shape if self.output == "all" else shape._replace(n_places=1)

    def saved_arrays(self, shape: BatchShape) -> Mapping[str, SavedArray]:
        """Gates and states of all steps, and what a step of the backward pass hands on."""
        sizes = _sizes(self.shape[0], shape, self.cell)
        return {name: SavedArray((size,), VALUE) for name, size in sizes.items()}

    @classmethod
    def saved_bytes(cls, n_out: int, shape: BatchShape, settings: Mapping[str, Setting]) -> int:
        """Bytes of these arrays."""
        return sum(_sizes(n_out, shape, CELLS[str(settings["cell"])]).values()) * np.dtype(VALUE).itemsize

    def forward(self, source: Tiles, out: Tiles, saved: Saved | None = None, dropout: Dropout | None = None) -> None:  # noqa: ARG002
        """The state after the last step, or after each; a recurrent layer has no dropout."""
        if saved is None:
            sizes = _sizes(self.shape[0], source.batch, self.cell)
            saved = {name: aligned_empty(size, VALUE) for name, size in sizes.items()}
        steps, slope = self._steps(source, saved), VALUE(LINEAR)
        self.incoming.product(source, Epilogue(self.bias, slope), steps.gates)
        steps.states.place(0).values.fill(0)
        fed_back = Epilogue(self.recurrent_bias, slope)
        for step in range(source.n_places):
            before, products = steps.states.place(step), self._products(steps, step)
            self.recurrent.product(before, fed_back, products)
            self.cell.forward(steps.gates.place(step), products, before, steps.states.place(step + 1))
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
        source: Tiles,
        saved: Saved,
        gate_below: Gate | None,
        sink: Sink | None,
        out: Tiles | None,
    ) -> None:
        """Back through all steps, then the gradients of both maps and the deltas for the layer below."""
        steps = self._steps(source, saved)
        self._back_through_time(steps, delta)
        if sink is not None:
            target = sink.map(self.recurrent.weight, self.recurrent_bias, NAMES[RECURRENT])
            before = steps.states.places(0, source.n_places)
            self.recurrent.gradient(self._recurrent_deltas(steps), before, target)
        if sink is None:
            if out is not None:
                self.incoming.transposed(steps.gates, gate_below, out)
            return
        target = sink.map(self.incoming.weight, self.bias, NAMES[INPUT])
        if out is None:
            self.incoming.gradient(steps.gates, source, target)
        else:
            self.incoming.transposed_and_gradient(steps.gates, source, gate_below, target, out)

    def _back_through_time(self, steps: Steps, delta: Tiles) -> None:
        """From deltas of the output to those of both maps' sums of all steps."""
        n = steps.gates.n_places
        steps.through.values.fill(0)
        steps.carried.values.fill(0)
        deltas, passed_on = self._recurrent_deltas(steps), self.recurrent.adjoint()
        for step in reversed(range(n)):
            above = delta.place(step) if self.output == "all" else delta if step == n - 1 else None
            states = steps.states.place(step), steps.states.place(step + 1)
            gates, products = steps.gates.place(step), self._products(steps, step)
            self.cell.backward(gates, products, *states, above, steps.through, steps.carried)
            if step:
                passed_on(deltas.place(step), steps.through)

    def signals(self, delta: Tiles, source: Tiles, saved: Saved) -> Mapping[str, tuple[Tiles, Tiles]]:  # noqa: ARG002
        """Those of both maps, of all steps."""
        steps = self._steps(source, saved)
        before = steps.states.places(0, source.n_places)
        return {INPUT: (source, steps.gates), RECURRENT: (before, self._recurrent_deltas(steps))}

    def _steps(self, source: Tiles, saved: Saved) -> Steps:
        n, n_columns = self.shape[0], source.batch.n_samples

        def tiles(name: str, n_neurons: int, n_places: int) -> Tiles:
            return Tiles(saved[name], n_neurons, n_places * n_columns, source.width, n_places)

        n_gates, n_places = self.cell.n_gates * n, source.n_places
        return Steps(
            tiles("gates", n_gates, n_places),
            tiles("products", n_gates, n_places if self.cell.keeps_products else 1),
            tiles("states", n, n_places + 1),
            tiles("through", n, 1),
            tiles("carried", n, 1),
        )

    def _products(self, steps: Steps, step: int) -> Tiles:
        """Sums of the recurrent map of a step."""
        return steps.products.place(step) if self.cell.keeps_products else steps.products

    def _recurrent_deltas(self, steps: Steps) -> Tiles:
        """Derivatives by the sums of the recurrent map of all steps."""
        return steps.products if self.cell.keeps_products else steps.gates

    def exact(
        self,
        source: Float64Array,
        values: Mapping[str, Float64Array],
        factor: Float64Array | None,  # noqa: ARG002
        bend: Float64Array | None = None,  # noqa: ARG002
    ) -> tuple[Float64Array, Float64Array | None]:
        """The states in float64, step by step."""
        incoming = exact_matrix(self.incoming, values["weight"])
        recurrent = exact_matrix(self.recurrent, values["recurrent_weight"])
        states = [np.zeros((self.shape[0], source.shape[2]))]
        for own in source:
            sums = incoming @ own + values["bias"][:, None]
            products = recurrent @ states[-1] + values["recurrent_bias"][:, None]
            states.append(self.cell.exact(sums, products, states[-1]))
        return np.array(states[1:] if self.output == "all" else states[-1:]), None

    @classmethod
    def parameter_sizes(
        cls, shape: tuple[int, int], n_values: Mapping[str, int], settings: Mapping[str, Setting]
    ) -> Mapping[str, int]:
        """A weight for each connection, a bias for each gate of either map."""
        cell, _, _ = _checked(settings)
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
        cell, output, n_places = _checked(state.settings)
        if is_last:
            raise ValueError(f'kind = "{cls.kind}": not in the last layer, whose sums are the outputs')
        n, n_in = state.shape
        state.check_shapes({INPUT: (cell.n_gates * n, n_in), RECURRENT: (cell.n_gates * n, n)})
        values = state.parameters
        incoming, recurrent = (
            connections_from_state(state.connections[owner], values[name], acting_share)
            for owner, (name, _) in NAMES.items()
        )
        return cls(incoming, recurrent, values["bias"], values["recurrent_bias"], cell, output, n_places)


def _section(blueprint: LayerBlueprint) -> RecurrentSection:
    assert isinstance(blueprint.section, RecurrentSection), blueprint.section
    return blueprint.section


def _sizes(n: int, shape: BatchShape, cell: type[Cell]) -> dict[str, int]:
    """Numbers in the arrays of a pass, by name."""
    step = n * shape._replace(n_places=1).n_columns
    return {
        "gates": cell.n_gates * step * shape.n_places,
        "products": cell.n_gates * step * (shape.n_places if cell.keeps_products else 1),
        "states": step * (shape.n_places + 1),
        "through": step,
        "carried": step,
    }


def _checked(settings: Mapping[str, Any]) -> tuple[type[Cell], str, int]:
    """Cell, output and steps of a file's settings.

    Raises
    ------
    ValueError
    """
    if settings.keys() != {"cell", "output", PLACES}:
        raise ValueError(f"settings {', '.join(sorted(settings)) or 'none'}: expected cell, output, places")
    cell, output, n_places = settings["cell"], settings["output"], settings[PLACES]
    for name, value, known in (("cell", cell, CELLS), ("output", output, OUTPUTS)):
        if value not in known:
            raise ValueError(f'{name} "{quoted(str(value))}": expected one of {", ".join(known)}')
    if not isinstance(n_places, int) or n_places < 1:
        raise ValueError(f"places {quoted(str(n_places))}: expected a whole number >= 1")
    return CELLS[cell], str(output), n_places
