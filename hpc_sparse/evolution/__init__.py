"""Changes of a topology, without MPI and files."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hpc_sparse.config import EvolutionSection, RunConfig
from hpc_sparse.config.combinations import IMPORTANCES_IN_PARTS
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.dtypes import VALUE
from hpc_sparse.evolution import strategies as strategies
from hpc_sparse.evolution.protocol import TopologyUpdater
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.optimizers.state import StateTypes
from hpc_sparse.network.weight_average import ALL_ARRAYS, WeightAverage

__all__ = [
    "TopologyUpdater",
    "lasting_states",
    "make_updater",
    "needs_samples",
    "optional_states",
    "refuses_parts",
    "state_arrays",
    "state_bytes",
    "state_types",
]


def make_updater(config: EvolutionSection) -> TopologyUpdater:
    """The updater that a configuration asks for."""
    kind = STRATEGIES[config.strategy]
    assert issubclass(kind, TopologyUpdater)
    return kind.from_config(config)


def state_arrays(config: RunConfig) -> Mapping[str, str]:
    """State arrays of a run by name, the optimiser's and others, and what a plan of the memory calls them."""
    return {**make_optimizer(config).state_arrays, **optional_states(config)}


def state_types(config: RunConfig) -> StateTypes:
    """The same names with the types of what connections have; those that are not the optimiser's are float32."""
    return {**make_optimizer(config).state_types, **dict.fromkeys(optional_states(config), VALUE)}


def state_bytes(config: RunConfig) -> int:
    """Bytes of all state arrays of a run for each weight."""
    return sum(np.dtype(each).itemsize for each in state_types(config).values())


def optional_states(config: RunConfig) -> Mapping[str, str]:
    """Those that may be missing where a run goes on from, and then begin at 0: all but the optimiser's."""
    average = WeightAverage.from_config(config)
    return {**make_updater(config.evolution).state_arrays, **({} if average is None else average.state_arrays)}


def refuses_parts(config: RunConfig) -> str | None:
    """What of the changes that a configuration asks for a network in parts cannot have; None if it can have all."""
    strategy, pruning = config.evolution.strategy, config.importance_pruning
    if not make_updater(config.evolution).works_in_parts:
        names = [name for name in STRATEGIES.names() if getattr(STRATEGIES[name], "works_in_parts", False)]
        return f'evolution.strategy = "{strategy}": not for a network in parts; use {", ".join(names)}'
    if pruning.mode != "off" and pruning.importance not in IMPORTANCES_IN_PARTS:
        setting = f'importance_pruning.importance = "{pruning.importance}"'
        return f"{setting}: not for a network in parts; use {' or '.join(IMPORTANCES_IN_PARTS)}"
    return None


def needs_samples(config: RunConfig) -> bool:
    """Whether training samples guide what connections grow or neurons go."""
    return make_updater(config.evolution).needs_signals or config.importance_pruning.needs_samples


def lasting_states() -> frozenset[str]:
    """Names of all state arrays that a run may have beside the optimiser's, by its strategy or for averages."""
    kinds = map(STRATEGIES.__getitem__, STRATEGIES.names())
    return ALL_ARRAYS.union(*(getattr(kind, "state_arrays", ()) for kind in kinds))
