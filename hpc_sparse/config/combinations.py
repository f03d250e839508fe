"""Settings of different sections that do not go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hpc_sparse.config.registry import OBJECTIVES, OPTIMIZERS, STRATEGIES

if TYPE_CHECKING:
    from hpc_sparse.config.run_config import RunConfig


def wrong_combinations(config: RunConfig) -> Iterator[str]:
    """One line per contradiction: the key, its value, and what it would need."""
    evolution, pruning, network = config.evolution, config.importance_pruning, config.network
    if evolution.every_steps is not None and config.parallel.overlap and config.parallel.algorithm == "local_sgd":
        yield (
            f"evolution.every_steps = {evolution.every_steps}: not with parallel.overlap = true, where replicas do not "
            "agree before the end of an epoch; use every_epochs"
        )
    if network.initial_topology == "grasp" and config.training.loss != "cross_entropy":
        yield (
            f'network.initial_topology = "grasp": not with training.loss = "{config.training.loss}"; use '
            '"cross_entropy", or initial_topology = "snip"'
        )
    if evolution.final_density is not None and pruning.mode != "off":
        yield (
            f"evolution.final_density = {evolution.final_density}: not with importance_pruning.mode = "
            f'"{pruning.mode}", which changes what it is a share of; use one of them'
        )
    said = set[str]()
    for number, layer in enumerate(network.layers or ()):
        if (refusal := layer.refuses(config)) and refusal not in said:  # once for all layers of a kind
            said.add(refusal)
            yield f"network.layers.{number}: {refusal}"
    for kind in (
        OBJECTIVES[config.training.loss],
        OPTIMIZERS[config.training.optimizer],
        STRATEGIES[evolution.strategy],
    ):
        if refusal := kind.refuses(config):
            yield refusal
