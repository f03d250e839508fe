"""How a replica's network changes before an epoch: importance pruning if it is due, then the topology's evolution."""

from __future__ import annotations

from dataclasses import dataclass

from hpc_sparse.config import RunConfig
from hpc_sparse.evolution import make_updater
from hpc_sparse.evolution.importance import ImportancePruner
from hpc_sparse.network.compaction import NetworkChange
from hpc_sparse.network.initializers import draw_grown_weights
from hpc_sparse.network.topology import TopologyChange
from hpc_sparse.rng import Purpose, stream, stream_key
from hpc_sparse.training.replica import Replica


@dataclass(frozen=True)
class EvolutionStep:
    """What changed before an epoch.

    Attributes
    ----------
    pruning : NetworkChange or None
        Importance pruning, which came first.
    growth : tuple of (TopologyChange or None)
        Evolution, one per layer; None where the layer stayed.
    """

    pruning: NetworkChange | None
    growth: tuple[TopologyChange | None, ...]

    @property
    def n_grown(self) -> int:
        """Connections that evolution has grown in all layers."""
        return sum(change.n_grown for change in self.growth if change is not None)

    def composed(self) -> list[TopologyChange | None]:
        """One change per layer; None where nothing changed."""
        if self.pruning is None:
            return list(self.growth)
        return [
            pruned if grown is None else pruned.then(grown)
            for pruned, grown in zip(self.pruning.layers, self.growth, strict=True)
        ]


class Evolution:
    """Changes replicas as a configuration says. Keeps no state: what happens depends on the epoch and the weights.

    Parameters
    ----------
    config : RunConfig
    stream_replica : int
        Replicas with the same number draw the same random numbers.
    """

    def __init__(self, config: RunConfig, stream_replica: int = 0) -> None:
        self._config, self._stream_replica = config, stream_replica
        self._updater = make_updater(config.evolution.strategy, config.evolution.drop_fraction)

    def step(self, replica: Replica, epoch: int, *, may_prune: bool = True) -> EvolutionStep | None:
        """Change a replica in place as is due before ``epoch``, counted from 1; nothing is before the first.

        Replicas that agree and may prune lose the same neurons.
        """
        n_done = epoch - 1
        prunes = may_prune and self._prunes_after(n_done)
        evolves = n_done > 0 and n_done % self._config.evolution.every_epochs == 0
        if not prunes and not evolves:
            return None
        pruning = self._prune(replica) if prunes else None
        growth = self._evolve(replica, epoch) if evolves else [None] * len(replica.network.layers)
        return EvolutionStep(pruning, tuple(growth))

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

    def _evolve(self, replica: Replica, epoch: int) -> list[TopologyChange | None]:
        """Let the topology of every layer but the output's evolve."""
        seed, initializer = self._config.training.seed, self._config.network.initializer
        changes: list[TopologyChange | None] = []
        for number, (layer, velocity) in enumerate(
            zip(replica.network.layers[:-1], replica.velocities[:-1], strict=True)
        ):
            name = {"epoch": epoch, "layer": number, "replica": self._stream_replica}
            change = self._updater.update(layer.topology, layer.weight, stream(seed, Purpose.DROP_AND_GROW, **name))
            changes.append(change)
            if change is None:
                continue
            layer.follow(change)
            key = stream_key(seed, Purpose.GROWN_WEIGHTS, **name)
            draw_grown_weights(initializer, change.topology, change.old_position, key, layer.weight)
            velocity.carry(change)
        return [*changes, None]
