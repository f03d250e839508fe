"""Changes of a topology, without MPI and files."""

from __future__ import annotations

from collections.abc import Mapping

from hpc_sparse.config import EvolutionSection, RunConfig
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.evolution import strategies as strategies
from hpc_sparse.evolution.protocol import TopologyUpdater
from hpc_sparse.network.optimizers.registry import make_optimizer

__all__ = ["TopologyUpdater", "lasting_states", "make_updater", "needs_samples", "state_arrays"]


def make_updater(config: EvolutionSection) -> TopologyUpdater:
    """The updater that a configuration asks for."""
    kind = STRATEGIES[config.strategy]
    assert issubclass(kind, TopologyUpdater)
    return kind.from_config(config)


def state_arrays(config: RunConfig) -> Mapping[str, str]:
    """State arrays of a run by name, the optimiser's and the strategy's, and what a plan of the memory calls them."""
    return {**make_optimizer(config).state_arrays, **make_updater(config.evolution).state_arrays}


def needs_samples(config: RunConfig) -> bool:
    """Whether training samples guide what connections grow or neurons go."""
    return make_updater(config.evolution).needs_signals or config.importance_pruning.needs_samples


def lasting_states() -> frozenset[str]:
    """Names of the state arrays that any strategy keeps: a run that goes on by another one begins or ends there."""
    return frozenset(
        name for kind in map(STRATEGIES.__getitem__, STRATEGIES.names()) for name in getattr(kind, "state_arrays", ())
    )
