"""Timing a network, or one layer as large ones have it, on this machine with the real kernels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import HIDDEN_VALUES, INDEX, OFFSET, VALUE, AnyArray, Float32Array
from hpc_sparse.evolution import make_updater, state_types
from hpc_sparse.evolution.protocol import LayerView, NetworkView
from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.network.activations import OUTPUT_ACTIVATION
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.protocol import INPUT, Gate
from hpc_sparse.network.connections.registry import random_connections
from hpc_sparse.network.connections.reserve import ALL_ACT
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network, Place
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import BatchShape, Tiles
from hpc_sparse.network.tokens import Batch, Tokens
from hpc_sparse.network.workspace import input_shapes
from hpc_sparse.planning.network_size import LayerSize, NetworkSize

LayerPlace = Literal["first", "middle", "last"]
"""Place of a layer: the first passes no deltas on; the last has no activation and does not evolve."""

TINY_RATE = 1e-9
KEY = np.uint64(1)
PATTERN = 1 << 16
"""Rows of numbers that are repeated to fill an array: random numbers for all of it would take longer than the probe."""


@dataclass(frozen=True)
class Seconds:
    """Times of the phases of a run.

    Attributes
    ----------
    construct : float
        Drawing connections and weights.
    step : float
        One training step, without fetching the samples.
    forward : float
        A batch of an evaluation.
    evolve : float
        One change of the topology, with the index by input neurons that the next step needs.
    """

    construct: float = 0.0
    step: float = 0.0
    forward: float = 0.0
    evolve: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        """Both, one after the other."""
        return Seconds(*(own + its for own, its in zip(self.numbers, other.numbers, strict=True)))

    def times(self, factors: Seconds | float) -> Seconds:
        """Product with a number, or of each time with its own factor."""
        if isinstance(factors, Seconds):
            return Seconds(*(own * factor for own, factor in zip(self.numbers, factors.numbers, strict=True)))
        return Seconds(*(own * factors for own in self.numbers))

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """All four."""
        return self.construct, self.step, self.forward, self.evolve


def time_network(config: RunConfig, size: NetworkSize, n_rounds: int) -> Seconds:
    """Time a whole network, which must be small enough to do so.

    Parameters
    ----------
    config : RunConfig
    size : NetworkSize
    n_rounds : int
        Measurements, of which the medians count.
    """
    n_batch, widths, settings = config.training.batch_size, size.widths, config.network
    last = len(size.layers) - 1
    started = time.perf_counter()
    if size.n_places > 1:
        network = Network.from_config(
            settings, widths[0], widths[-1], seed=0, n_places=size.n_places, reads_tokens=size.n_tokens > 0
        )
    else:
        blueprints = [_blueprint(config, layer, number, last) for number, layer in enumerate(size.layers)]
        network = Network([SparseLayer.random(blueprint) for blueprint in blueprints])
    construct = time.perf_counter() - started
    workspace = network.make_workspace(n_batch, activations=config.training.activations)
    optimizer, objective = make_optimizer(config), make_objective(config)
    replica = Replica.at_rest(network, state_types(config))
    batch: Batch = _tokens(network, n_batch)
    if not network.reads_tokens:
        batch = _numbers(widths[0], n_batch, network.tile_width, n_places=size.n_places)
    n_places = network.n_places_out
    labels = np.zeros(n_batch if n_places == 1 else (n_batch, n_places), INDEX)
    dropouts = [Dropout(settings.dropout, KEY)] * (len(widths) - 2)

    def step() -> None:
        step_by = optimizer, TINY_RATE, workspace, config.optimizer.clip_norm
        replica.train_batch(batch, labels, objective, dropouts, *step_by)

    seconds = Seconds(construct, timed(step, n_rounds), timed(lambda: network.forward(batch, workspace), n_rounds))
    for place in network.evolving():
        seconds += Seconds(evolve=_time_evolution(config, replica, place))
    return seconds


def time_layer(config: RunConfig, size: LayerSize, place: LayerPlace, n_rounds: int, width: int) -> Seconds:
    """Time one layer at some place in its network, whose tiles have ``width`` columns, as :func:`time_network` does."""
    n_batch, slope = config.training.batch_size, config.network.alpha
    started = time.perf_counter()
    acting_share = make_updater(config.evolution).acting_share
    incoming = random_connections(replace(_blueprint(config, size, 0, 1), acting_share=acting_share))
    weight = incoming.weight
    layer = SparseLayer(incoming, np.zeros(size.n_out, VALUE), slope, config.network.activation)
    construct = time.perf_counter() - started
    optimizer = make_optimizer(config)
    replica = Replica.at_rest(Network([layer], tile_width=width), state_types(config))
    hidden = HIDDEN_VALUES[config.training.activations]
    source = _numbers(size.n_in, n_batch, width, VALUE if place == "first" else hidden)
    out = _numbers(size.n_out, n_batch, width, VALUE if place == "last" else hidden)
    dropout = Dropout(config.network.dropout, KEY)
    records = [aligned_empty(n * record_words(source.n_columns), np.uint16) for n in (size.n_in, size.n_out)]
    records[0].fill(0x5555)
    scratch = aligned_empty(max(2 * weight.size, weight.size + size.n_out), VALUE)
    sink = optimizer.sink(TINY_RATE, replica.states[0], lambda n: scratch[:n])
    gate, below = Gate(VALUE(slope), dropout.scale, records[0]), None if place == "first" else source

    def forward() -> None:
        if place == "last":
            layer.forward(source, out)
        else:
            layer.forward(source, out, {"record": records[1]}, dropout)

    def backward() -> None:
        layer.backward(out, source, {}, gate, sink, below)

    seconds = Seconds(construct, forward=timed(forward, n_rounds))
    # In a network the other layers come between the two passes, and neither finds the other's rows in the caches.
    seconds += Seconds(step=seconds.forward + timed(backward, n_rounds, before=lambda: _refill(source)))
    if place != "last":
        seconds += Seconds(evolve=_time_evolution(config, replica, Place(0, INPUT)))
    return seconds


def _blueprint(config: RunConfig, size: LayerSize, number: int, last: int) -> LayerBlueprint:
    """A layer of this size, whose connections all act."""
    settings, (own,) = config.network, size.each_map
    return LayerBlueprint(
        number,
        (size.n_out, size.n_in),
        own.n_units / own.n_possible_units,
        settings.activation if number < last else OUTPUT_ACTIVATION,
        settings.alpha,
        settings.initializer,
        0,
        settings.random_pattern,
        section=size.section,
        rewired=settings.rewired_share,
    )


def timed(action: Callable[[], object], n_rounds: int, before: Callable[[], object] | None = None) -> float:
    """Median seconds of an action, after a round that does not count; ``before`` comes before each, untimed."""
    seconds = []
    for _ in range(n_rounds + 1):
        if before is not None:
            before()
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:])


def _time_evolution(config: RunConfig, replica: Replica, place: Place) -> float:
    """Seconds of one change of the connections at a place as the configured strategy makes it."""
    updater, settings = make_updater(config.evolution), config.evolution
    momentum = make_optimizer(config).momentum_array
    if not updater.changes_topology:
        return 0.0
    signals, connections = None, replica.network.at(place)
    if updater.needs_signals:
        n_samples, width = settings.growth_samples, replica.network.tile_width
        layers = replica.network.layers
        n_places = input_shapes(layers, BatchShape(n_samples, replica.network.n_places))[place.layer].n_places
        source, delta = (_numbers(n, n_samples, width, n_places=n_places) for n in connections.shape[::-1])
        signals = Signals(source, delta, n_samples)
    rng = np.random.default_rng(0)

    initializer, by = config.network.initializer, settings.block_score

    def initial_scores(topology: Topology) -> Float32Array:
        return connections.rewired(topology, connections.initial_weight(topology, initializer, KEY)).scores(by)

    topology = connections.topology
    started = time.perf_counter()
    view = LayerView(
        topology,
        connections.scores(by),
        None if momentum is None else replica.state_at(place, momentum),
        topology.n_connections,
        rng,
        signals,
        initial_scores,
        getattr(connections, "acting_share", ALL_ACT),
        connections.unit,
    )
    for update in updater.update(NetworkView((view,), _listener(topology), settings.first_fraction, keeps_sizes=True)):
        if update is not None:
            replica.follow(place.layer, {place.name: update.change})
            connections = replica.network.at(place)
            connections.draw_grown(update.change.old_position, initializer, KEY)
    _ = connections.topology.transposed
    return time.perf_counter() - started


def _listener(topology: Topology) -> Topology:
    """An output layer of one neuron with connections from all neurons of a layer, so that none of them is dead."""
    n_out = topology.shape[0]
    return Topology.from_keys((1, n_out), np.arange(n_out, dtype=OFFSET))


def _tokens(network: Network, n_batch: int) -> Tokens:
    """A batch of tokens at random."""
    rows = np.random.default_rng(0).integers(0, network.widths[0], (n_batch, network.n_places))
    return Tokens.of(rows, network.widths[0], network.tile_width)


def _numbers(
    n_rows: int, n_batch: int, width: int, dtype: type[np.float32 | np.uint16] = VALUE, *, n_places: int = 1
) -> Tiles:
    """Activations that are normal numbers, float32 or bfloat16 as uint16."""
    numbers = Tiles.empty(n_rows, n_batch, width, dtype, n_places=n_places)
    _refill(numbers)
    return numbers


def _refill(numbers: Tiles) -> None:
    values = numbers.values
    pattern: AnyArray = np.random.default_rng(0).standard_normal(PATTERN, VALUE)
    if values.dtype != VALUE:
        pattern = pattern.view(np.uint16)[1::2]  # the upper halves
    for start in range(0, values.size, PATTERN):
        part = values[start : start + PATTERN]
        part[:] = pattern[: part.size]
