"""What kinds of layers refuse that are no chain of weighted sums."""

from __future__ import annotations

from hpc_sparse.config import RunConfig
from hpc_sparse.config.layers import CHOSEN_BY_DATA
from hpc_sparse.config.registry import STRATEGIES


def refuses_all_but_plain_runs(kind: str, config: RunConfig) -> str | None:
    """Anything but float32, removal of neurons, reserves, and topologies of pairs of neurons; None if all fits."""
    for key, value, usual in (
        ("training.activations", config.training.activations, "float32"),
        ("importance_pruning.mode", config.importance_pruning.mode, "off"),
    ):
        if value != usual:
            return f'kind = "{kind}": not with {key} = "{value}"; use "{usual}"'
    strategy = config.evolution.strategy
    if (share := getattr(config.evolution.chosen(STRATEGIES[strategy].section), "acting_share", 1.0)) < 1:
        return f'kind = "{kind}": not with evolution.{strategy}.acting_share = {share}; use 1'
    chosen = config.network.initial_topology
    if chosen in CHOSEN_BY_DATA:  # made for layers with one map between pairs of neurons
        return f'kind = "{kind}": not with network.initial_topology = "{chosen}"; use "erdos_renyi"'
    return None
