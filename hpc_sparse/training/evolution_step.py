"""Changes of a replica's network during a run: importance pruning if it is due, then the topology."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.errors import ConfigError
from hpc_sparse.evolution import make_updater, needs_samples, refuses_parts
from hpc_sparse.evolution.block_pruning import BlockPruner
from hpc_sparse.evolution.importance import ImportancePruner, fold_means
from hpc_sparse.evolution.protocol import LayerUpdate, LayerView, NetworkView
from hpc_sparse.evolution.schedule import EvolutionSchedule, TimeInRun, shrunk_sizes
from hpc_sparse.network.blueprint import STREAM_NUMBERS
from hpc_sparse.network.connections.compaction import NetworkChange
from hpc_sparse.network.connections.initial_weights import width_factor
from hpc_sparse.network.connections.protocol import INPUT, Connections
from hpc_sparse.network.connections.reserve import ALL_ACT
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.network import Network, Place
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.replica import Replica
from hpc_sparse.rng import Purpose, stream, stream_key
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.target_size import initial_size


@dataclass(frozen=True)
class EvolutionStep:
    """Changes of one evolution step.

    Attributes
    ----------
    pruning : NetworkChange or None
        Importance pruning, which came first.
    n_grown : int
        Connections that evolution has grown in all layers.
    growth : dict of Place to TopologyChange
        Evolution of the connections that did not stay; empty unless changes are kept.
    n_layers : int
    """

    pruning: NetworkChange | None
    n_grown: int
    growth: dict[Place, TopologyChange]
    n_layers: int

    def composed(self) -> list[dict[str, TopologyChange]]:
        """The changes of each layer by the names of its connections, both in one."""
        changes: list[dict[str, TopologyChange]] = [{} for _ in range(self.n_layers)]
        if self.pruning is not None:
            for own, pruned in zip(changes, self.pruning.layers, strict=True):
                own[INPUT] = pruned
        for place, grown in self.growth.items():
            before = changes[place.layer].get(place.name)
            changes[place.layer][place.name] = grown if before is None else before.then(grown)
        return changes


class Mode(Enum):
    """Which replicas change alike, and what may change."""

    SHARED = auto()
    """All replicas change alike: neurons are pruned, layers may exchange connections."""
    INDEPENDENT = auto()
    """Each replica has its own topology until the next average; layers keep their shares of the connections."""
    FIXED_SIZES = auto()
    """As independent ones; nothing is pruned, and layers keep their sizes whatever strategy and schedules say."""


class Evolution:
    """Changes replicas as a configuration says. Keeps no state: what happens depends on the time and the weights.

    Parameters
    ----------
    config : RunConfig
    stream_replica : int
        Replicas with the same number draw the same random numbers.
    mode : Mode
    n_steps : int
        Steps of an epoch.
    growth : GrowthSource or None
        Needed by strategies that grow by gradients.
    keeps_changes : bool
        Steps come with what has become of every connection, for which there must be memory.
    n_inputs : int or None
        Inputs of the network when it was new, if some may have been removed.
    shrinks_until : int or None
        Epoch by which layers have come down to their final density, if not by the last one.
    n_steps_alone : int or None
        Steps of an epoch if one replica had all samples; by default ``n_steps``.
    """

    def __init__(
        self,
        config: RunConfig,
        stream_replica: int = 0,
        *,
        mode: Mode = Mode.SHARED,
        n_steps: int = 1,
        growth: GrowthSource | None = None,
        keeps_changes: bool = True,
        n_inputs: int | None = None,
        shrinks_until: int | None = None,
        n_steps_alone: int | None = None,
    ) -> None:
        self._config, self._stream_replica, self._mode = config, stream_replica, mode
        self._n_steps, self._growth, self._keeps_changes = n_steps, growth, keeps_changes
        self._n_inputs = n_inputs
        self._updater, self._momentum = make_updater(config.evolution), make_optimizer(config).momentum_array
        self._schedule = make_schedule(config, n_steps_alone or n_steps)
        self._sizes = self._schedule if shrinks_until is None else self._schedule.ending_by(shrinks_until)
        self._pruner = BlockPruner.from_config(config, n_steps) if mode is Mode.SHARED else None

    @property
    def changes_sizes(self) -> bool:
        """Whether layers get fewer connections as time goes by."""
        return self._config.evolution.final_density is not None and self._mode is not Mode.FIXED_SIZES

    def step(self, replica: Replica, epoch: int) -> EvolutionStep | None:
        """Change a replica in place as is due before ``epoch``, counted from 1; nothing is before the first.

        Replicas that agree lose the same neurons if they are pruned. Parts of a network change together (collective).

        Raises
        ------
        ConfigError
            The replica is a part of a network, and something does not work in parts.
        """
        time = TimeInRun(epoch - 1, 0, self._n_steps)
        if replica.is_part and (refusal := refuses_parts(self._config)):
            raise ConfigError(refusal)
        if time.total_steps == 0:
            self._begin(replica)
        prunes = self._mode is not Mode.FIXED_SIZES and self._prunes_after(time.n_epochs)
        if not prunes and not self._changes_at(time):
            return None
        pruning = self._prune(replica, time) if prunes else None
        n_grown, growth = self._change_topology(replica, time) if self._changes_at(time) else (0, {})
        return EvolutionStep(pruning, n_grown, growth, len(replica.network.layers))

    def after_step(self, replica: Replica, rate: float) -> None:
        """Let the strategy have its part in a step with the learning rate ``rate``, which is done."""
        if self._updater.acts_after_steps:
            for place in replica.network.evolving():
                self._updater.after_step(replica.network.at(place), rate)

    def is_due_within(self, epoch: int, step: int) -> bool:
        """Whether the topology is to change when so many steps of ``epoch``, some but not all, are done."""
        return 0 < step < self._n_steps and self._changes_at(TimeInRun(epoch - 1, step, self._n_steps))

    def step_within(self, replica: Replica, epoch: int, step: int) -> EvolutionStep | None:
        """Change a replica in place as is due when so many steps of ``epoch`` are done."""
        if not self.is_due_within(epoch, step):
            return None
        n_grown, growth = self._change_topology(replica, TimeInRun(epoch - 1, step, self._n_steps))
        return EvolutionStep(None, n_grown, growth, len(replica.network.layers))

    def _begin(self, replica: Replica) -> None:
        """Set the strategy's own state arrays before the first step."""
        for place in replica.network.evolving() if self._updater.state_arrays else ():
            connections = replica.network.at(place)
            if connections.unit == (1, 1):
                self._remember(replica, place, self._updater.first_states(connections.scores()))

    def _remember(self, replica: Replica, place: Place, states: Mapping[str, Float32Array]) -> None:
        for name, values in states.items():
            replica.state_at(place, name)[:] = values

    def _changes_at(self, time: TimeInRun) -> bool:
        """Whether connections come or go now."""
        is_pruned = time.total_steps > 0 and self._pruner is not None and self._pruner.is_due(time)
        return is_pruned or self._schedule.is_due(time)

    def _change_topology(self, replica: Replica, time: TimeInRun) -> tuple[int, dict[Place, TopologyChange]]:
        """Take out blocks that are too small, then let the others evolve if it is time: see :meth:`_evolve`."""
        removed = dict[Place, TopologyChange]()
        for place in replica.network.evolving() if self._pruner is not None else []:
            assert self._pruner is not None
            change = self._pruner.removal(place.name, replica.network.at(place), time)
            if change is not None:
                replica.follow(place.layer, {place.name: change})
                removed |= {place: change} if self._keeps_changes else {}
        n_grown, changes = self._evolve(replica, time) if self._schedule.is_due(time) else (0, {})
        both = {place: removed[place].then(change) for place, change in changes.items() if place in removed}
        return n_grown, {**removed, **changes, **both}

    def _prunes_after(self, n_done: int) -> bool:
        settings = self._config.importance_pruning
        is_time = settings.after_epoch < n_done <= settings.until_epoch and n_done % settings.every_epochs == 0
        return settings.mode != "off" and is_time

    def _prune(self, replica: Replica, time: TimeInRun) -> NetworkChange | None:
        settings = self._config.importance_pruning
        assert settings.mode != "off"
        signals = self._signals(replica.network, {"epoch": time.n_epochs + 1}) if settings.needs_samples else None
        pruner = ImportancePruner(settings.mode, settings.percentile, settings.input_percentile, settings.importance)
        change = pruner.prune(replica.network, signals)
        if change is not None:
            if settings.mode == "compact" and settings.fold_means:
                assert signals is not None
                fold_means(replica.network, change, signals)
            replica.apply(change)
        return change

    def _evolve(self, replica: Replica, time: TimeInRun) -> tuple[int, dict[Place, TopologyChange]]:
        """Let the topology of every layer but the output's evolve: connections grown, and the changes if kept."""
        places = replica.network.evolving()
        sizes = dict(zip(places, self._target_sizes(replica, time), strict=False))
        n_grown, changes = 0, dict[Place, TopologyChange]()
        # Alone, a place's old connections are gone before the next one's are decided.
        for together in [[place] for place in places] if self._updater.sees_layers_alone else [places]:
            if self._updater.sees_layers_alone and self._updater.changes_topology:
                replica.network.at(together[0]).forget_transposed()  # half of what the change takes
            own = self._change(replica, {place: sizes[place] for place in together}, time)
            n_grown += sum(
                replica.network.share(place).exchange.total(each.n_grown) * replica.network.at(place).values_per_unit
                for place, each in own.items()
            )
            changes |= own if self._keeps_changes else {}
            del own  # or it would be there during the next change
        return n_grown, changes

    def _change(self, replica: Replica, sizes: dict[Place, int], time: TimeInRun) -> dict[Place, TopologyChange]:
        """Change the connections at some places, which are decided together."""
        address = {"epoch": time.n_epochs + 1, "replica": self._stream_replica, "step": time.step}
        updates = self._updater.update(self._view(replica, sizes, time, address))
        changed = {place: update for place, update in zip(sizes, updates, strict=True) if update is not None}
        for place, update in changed.items():
            key = stream_key(
                self._config.training.seed, Purpose.GROWN_WEIGHTS, layer=stream_number(place, replica), **address
            )
            self._apply(replica, place, update, key)
        return {place: update.change for place, update in changed.items()}

    def _view(self, replica: Replica, sizes: dict[Place, int], time: TimeInRun, address: dict[str, int]) -> NetworkView:
        """What the strategy gets to see of the connections at some places."""
        seed, network = self._config.training.seed, replica.network
        signals: Sequence[Mapping[str, Signals]] = [{}] * len(network.layers)
        if self._updater.needs_signals:
            signals = self._signals(network, address)
        views = []
        for place, size in sizes.items():
            connections, number = network.at(place), stream_number(place, replica)
            views.append(
                LayerView(
                    network.rows(place),
                    connections.scores(self._config.evolution.block_score),
                    None if self._momentum is None else replica.state_at(place, self._momentum),
                    size,
                    stream(seed, Purpose.DROP_AND_GROW, layer=number, **address),
                    signals[place.layer].get(place.name),
                    self._initial_scores(connections, number),
                    getattr(connections, "acting_share", ALL_ACT),
                    connections.unit,
                    {
                        name: replica.state_at(place, name)
                        for name in self._updater.state_arrays
                        if connections.unit == (1, 1)
                    },
                    network.share(place),
                )
            )
        fraction = self._schedule.drop_fraction_at(time)
        output = network.rows(Place(len(network.layers) - 1, INPUT))
        done = self._schedule.share_done_at(time)
        return NetworkView(tuple(views), output, fraction, self._mode is not Mode.SHARED, done)

    def _signals(self, network: Network, address: Mapping[str, int]) -> Sequence[Mapping[str, Signals]]:
        """Signals of a batch of training samples that the address says."""
        assert self._growth is not None
        return self._growth.signals(network, stream(self._config.training.seed, Purpose.GROWTH_BATCH, **address))

    def _initial_scores(self, connections: Connections, number: int) -> Callable[[Topology], Float32Array]:
        """Scores of the units of a topology in a new network."""
        key = stream_key(self._config.training.seed, Purpose.WEIGHTS, layer=number)
        initializer, by = self._config.network.initializer, self._config.evolution.block_score

        def scores(topology: Topology) -> Float32Array:
            weight = connections.initial_weight(topology, initializer, key)
            return weight if connections.unit == (1, 1) else connections.rewired(topology, weight).scores(by)

        return scores

    @property
    def _grows_zero(self) -> bool:
        choice = self._config.evolution.grown_weights
        return self._updater.grows_zero if choice == "strategy" else choice == "zero"

    def _target_sizes(self, replica: Replica, time: TimeInRun) -> list[int]:
        """Connections that each place that evolves is to have after the change."""
        network = replica.network
        sizes = [network.share(place).n_connections for place in network.evolving()]
        if not self.changes_sizes:
            return sizes
        initial, at_end = initial_size(self._config, network.widths, network.n_places)
        n_each = [network.at(place).values_per_unit for place in network.evolving()]
        wanted = shrunk_sizes(
            [n * size for n, size in zip(sizes, n_each, strict=True)],
            round(initial * self._sizes.remaining_at(time, at_end)),
        )
        return [min(n, max(1, size // each)) for n, size, each in zip(sizes, wanted, n_each, strict=True)]

    def _apply(self, replica: Replica, place: Place, update: LayerUpdate, key: np.uint64) -> None:
        replica.follow(place.layer, {place.name: update.change})
        self._remember(replica, place, update.remembered)
        network = replica.network
        connections = network.at(place)
        initializer, seed = self._config.network.initializer, self._config.training.seed
        if update.weight is not None:
            new = stream_key(seed, Purpose.WEIGHTS, layer=stream_number(place, replica))
            connections.rescale(
                update.weight,
                self._config.evolution.block_score,
                lambda: connections.initial_weight(connections.topology, initializer, new),
            )
            replica.settle(place, "all")
        elif not self._grows_zero:
            connections.draw_grown(update.change.old_position, initializer, key)
            factor = width_factor(initializer, network.shape_at(place), self._original_shape(network, place))
            if factor != 1:
                connections.weight[np.flatnonzero(update.change.old_position < 0)] *= VALUE(factor)
            replica.settle(place, "grown")
        else:
            replica.settle(place, "none")

    def _original_shape(self, network: Network, place: Place) -> tuple[int, int]:
        """Shape of the connections at a place before any neuron was removed."""
        shape = network.shape_at(place)
        if network.layers[place.layer].shape != network.at(place).shape or not network.has_lost_neurons:
            return shape  # layers of several maps keep their neurons
        ids, hidden = network.neuron_ids[0], self._config.network.hidden
        n_inputs = shape[1] if ids is None else self._n_inputs or int(ids[-1]) + 1
        return hidden[place.layer], hidden[place.layer - 1] if place.layer else n_inputs


def stream_number(place: Place, replica: Replica) -> int:
    """Number by which random streams know a place: that of its layer, for the first connections of the layer."""
    position = list(replica.network.layers[place.layer].connections()).index(place.name)
    return place.layer + position * STREAM_NUMBERS


def start_growth(job: TrainingJob, objective: Objective) -> GrowthSource | None:
    """The source of gradients that the strategy of a job grows by; None if it needs none (collective)."""
    return GrowthSource.start(job, objective) if needs_growth_samples(job.config) else None


def needs_growth_samples(config: RunConfig) -> bool:
    """Whether the strategy grows by gradients."""
    return needs_samples(config)


def make_schedule(config: RunConfig, n_steps_alone: int) -> EvolutionSchedule:
    """The occasions that a configuration describes, with so many steps of an epoch if one replica had all samples."""
    settings = config.evolution
    return EvolutionSchedule(
        n_epochs=config.training.epochs,
        begin=settings.begin_epoch,
        end=settings.last_change(config.training.epochs),
        drop_fraction=settings.first_fraction,
        drop_schedule=settings.decay,
        least=settings.least_fraction,
        density_schedule=settings.density_schedule,
        every_epochs=settings.every_epochs,
        every_steps=n_steps_alone if settings.every_steps == "auto" else settings.every_steps,
    )
