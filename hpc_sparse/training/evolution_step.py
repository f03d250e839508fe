"""How a replica's network changes in the course of a run: importance pruning if it is due, then the topology."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import Float32Array
from hpc_sparse.evolution import make_updater
from hpc_sparse.evolution.importance import ImportancePruner
from hpc_sparse.evolution.protocol import LayerUpdate, LayerView, NetworkView
from hpc_sparse.evolution.schedule import EvolutionSchedule, Moment, shrunk_sizes
from hpc_sparse.network.connections.compaction import NetworkChange
from hpc_sparse.network.connections.initial_weights import draw_grown_weights, draw_weights
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.rng import Purpose, stream, stream_key
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.replica import Replica
from hpc_sparse.training.target_size import initial_size


@dataclass(frozen=True)
class EvolutionStep:
    """What changed.

    Attributes
    ----------
    pruning : NetworkChange or None
        Importance pruning, which came first.
    n_grown : int
        Connections that evolution has grown in all layers.
    growth : tuple of (TopologyChange or None)
        Evolution, one per layer; None where the layer stayed, and everywhere unless changes are kept.
    """

    pruning: NetworkChange | None
    n_grown: int
    growth: tuple[TopologyChange | None, ...]

    def composed(self) -> list[TopologyChange | None]:
        """One change per layer; None where nothing changed."""
        if self.pruning is None:
            return list(self.growth)
        return [
            pruned if grown is None else pruned.then(grown)
            for pruned, grown in zip(self.pruning.layers, self.growth, strict=True)
        ]


class Evolution:
    """Changes replicas as a configuration says. Keeps no state: what happens depends on the time and the weights.

    Parameters
    ----------
    config : RunConfig
    stream_replica : int
        Replicas with the same number draw the same random numbers.
    n_steps : int
        Steps of an epoch.
    growth : GrowthSource or None
        Needed by strategies that grow by gradients.
    keeps_sizes : bool
        Every layer is to keep its number of connections, whatever the strategy and the schedules say.
    redistributes : bool
        Layers may exchange connections.
    keeps_changes : bool
        Steps come with what has become of every connection, for which there must be memory.
    """

    def __init__(
        self,
        config: RunConfig,
        stream_replica: int = 0,
        *,
        n_steps: int = 1,
        growth: GrowthSource | None = None,
        keeps_sizes: bool = False,
        redistributes: bool = True,
        keeps_changes: bool = True,
    ) -> None:
        self._config, self._stream_replica, self._n_steps, self._growth = config, stream_replica, n_steps, growth
        self._keeps_sizes, self._redistributes, self._keeps_changes = keeps_sizes, redistributes, keeps_changes
        self._updater = make_updater(config.evolution)
        self._schedule = make_schedule(config)

    @property
    def changes_sizes(self) -> bool:
        """Whether layers get fewer connections as time goes by."""
        return self._config.evolution.final_density is not None and not self._keeps_sizes

    def step(self, replica: Replica, epoch: int, *, may_prune: bool = True) -> EvolutionStep | None:
        """Change a replica in place as is due before ``epoch``, counted from 1; nothing is before the first.

        Replicas that agree and may prune lose the same neurons.
        """
        moment = Moment(epoch - 1, 0, self._n_steps)
        prunes = may_prune and self._prunes_after(moment.n_epochs)
        evolves = self._schedule.is_due(moment)
        if not prunes and not evolves:
            return None
        pruning = self._prune(replica) if prunes else None
        if not evolves:
            return EvolutionStep(pruning, 0, (None,) * len(replica.network.layers))
        return EvolutionStep(pruning, *self._evolve(replica, moment))

    def is_due_within(self, epoch: int, step: int) -> bool:
        """Whether the topology is to change when so many steps of ``epoch``, some but not all, are done."""
        return 0 < step < self._n_steps and self._schedule.is_due(Moment(epoch - 1, step, self._n_steps))

    def step_within(self, replica: Replica, epoch: int, step: int) -> EvolutionStep | None:
        """Change a replica in place as is due when so many steps of ``epoch`` are done."""
        if not self.is_due_within(epoch, step):
            return None
        return EvolutionStep(None, *self._evolve(replica, Moment(epoch - 1, step, self._n_steps)))

    def _prunes_after(self, n_done: int) -> bool:
        settings = self._config.importance_pruning
        is_time = settings.after_epoch < n_done <= settings.until_epoch and n_done % settings.every_epochs == 0
        return settings.mode != "off" and is_time

    def _prune(self, replica: Replica) -> NetworkChange | None:
        settings = self._config.importance_pruning
        assert settings.mode != "off"
        change = ImportancePruner(settings.mode, settings.percentile, settings.input_percentile).prune(replica.network)
        if change is not None:
            replica.network.apply(change, replica.velocities)
        return change

    def _evolve(self, replica: Replica, moment: Moment) -> tuple[int, tuple[TopologyChange | None, ...]]:
        """Let the topology of every layer but the output's evolve: connections grown, and the changes if kept."""
        numbers = range(len(replica.network.layers) - 1)
        sizes = self._target_sizes(replica, moment)
        n_grown, changes = 0, list[TopologyChange | None]()
        # Alone, a layer's old connections are gone before the next layer's are decided.
        for together in [[number] for number in numbers] if self._updater.sees_layers_alone else [list(numbers)]:
            n_own, own = self._change_layers(replica, together, sizes, moment)
            n_grown += n_own
            changes += own
        return n_grown, (*changes, None)

    def _change_layers(
        self, replica: Replica, numbers: list[int], sizes: list[int], moment: Moment
    ) -> tuple[int, list[TopologyChange | None]]:
        name = {"epoch": moment.n_epochs + 1, "replica": self._stream_replica, "step": moment.step}
        updates = self._updater.update(self._view(replica, numbers, sizes, moment, name))
        for number, update in zip(numbers, updates, strict=True):
            if update is not None:
                key = stream_key(self._config.training.seed, Purpose.GROWN_WEIGHTS, layer=number, **name)
                self._apply(replica, number, update, key)
        changes = [None if update is None else update.change for update in updates]
        n_grown = sum(change.n_grown for change in changes if change is not None)
        return n_grown, changes if self._keeps_changes else [None] * len(changes)

    def _view(
        self, replica: Replica, numbers: list[int], sizes: list[int], moment: Moment, name: dict[str, int]
    ) -> NetworkView:
        """What the strategy gets to see of these layers."""
        seed, network = self._config.training.seed, replica.network
        signals: Sequence[Signals | None] = [None] * len(network.layers)
        if self._updater.needs_signals:
            assert self._growth is not None
            signals = list(self._growth.signals(network, stream(seed, Purpose.GROWTH_BATCH, **name)))
        views = [
            LayerView(
                network.layers[number].topology,
                network.layers[number].weight,
                replica.velocities[number].weight,
                sizes[number],
                stream(seed, Purpose.DROP_AND_GROW, layer=number, **name),
                signals[number],
                self._initial_weight(number),
                network.layers[number].acting_share,
            )
            for number in numbers
        ]
        fraction = self._schedule.drop_fraction_at(moment)
        return NetworkView(tuple(views), network.layers[-1].topology, fraction, not self._redistributes)

    def _initial_weight(self, layer: int) -> Callable[[Topology], Float32Array]:
        """What connections of a layer weigh in a new network."""
        key = stream_key(self._config.training.seed, Purpose.WEIGHTS, layer=layer)
        return lambda topology: draw_weights(self._config.network.initializer, topology, key)

    @property
    def _grows_zero(self) -> bool:
        choice = self._config.evolution.grown_weights
        return self._updater.grows_zero if choice == "strategy" else choice == "zero"

    def _target_sizes(self, replica: Replica, moment: Moment) -> list[int]:
        """Connections that each layer is to have after the change."""
        sizes = [layer.topology.n_connections for layer in replica.network.layers]
        if not self.changes_sizes:
            return sizes
        initial, at_end = initial_size(self._config, replica.network.widths)
        n_wanted = round(initial * self._schedule.remaining_at(moment, at_end))
        return [*shrunk_sizes(sizes[:-1], n_wanted), sizes[-1]]

    def _apply(self, replica: Replica, number: int, update: LayerUpdate, key: np.uint64) -> None:
        layer, velocity = replica.network.layers[number], replica.velocities[number]
        layer.follow(update.change)
        velocity.carry(update.change)
        if update.weight is not None:
            layer.weight = update.weight
        elif not self._grows_zero:
            topology, old_position = update.change.topology, update.change.old_position
            draw_grown_weights(self._config.network.initializer, topology, old_position, key, layer.weight)


def needs_growth_samples(config: RunConfig) -> bool:
    """Whether the strategy grows by gradients."""
    return make_updater(config.evolution).needs_signals


def make_schedule(config: RunConfig) -> EvolutionSchedule:
    """The occasions that a configuration describes."""
    settings = config.evolution
    return EvolutionSchedule(
        n_epochs=config.training.epochs,
        begin=settings.begin_epoch,
        end=settings.end_epoch,
        drop_fraction=settings.drop_fraction,
        drop_schedule=settings.drop_schedule,
        every_epochs=settings.every_epochs,
        every_steps=settings.every_steps,
    )
