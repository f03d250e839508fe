"""Settings of different sections that do not go together."""

from __future__ import annotations

from collections.abc import Iterator

from hpc_sparse.config.run_config import RunConfig


def wrong_combinations(config: RunConfig) -> Iterator[str]:
    """One line per contradiction: the key, its value, and what it would need."""
    evolution, pruning = config.evolution, config.importance_pruning
    if evolution.every_steps is not None and config.parallel.overlap and config.parallel.strategy == "local_sgd":
        yield (
            f"evolution.every_steps = {evolution.every_steps}: not with parallel.overlap = true, where replicas do not "
            "agree before the end of an epoch; use every_epochs"
        )
    if evolution.strategy == "deep_r" and pruning.mode == "compact":
        yield (
            'evolution.strategy = "deep_r": not with importance_pruning.mode = "compact", which gives neurons other '
            'numbers, on which the signs of the weights depend; use mode = "released"'
        )
    if evolution.strategy == "snfs" and config.parallel.strategy == "local_sgd" and config.parallel.momentum == "reset":
        yield (
            'evolution.strategy = "snfs": not with parallel.momentum = "reset", which leaves no momentum to share out '
            'connections by; use momentum = "average"'
        )
    if evolution.strategy == "top_kast" and config.network.acting_share == 1:
        yield (
            'evolution.strategy = "top_kast": needs a reserve of connections that do not act; set network.acting_share '
            "below 1, such as 0.5"
        )
    if config.network.topology == "grasp" and config.training.loss != "cross_entropy":
        yield (
            f'network.topology = "grasp": not with training.loss = "{config.training.loss}"; use "cross_entropy", or '
            'topology = "snip"'
        )
    if config.network.acting_share < 1 and evolution.strategy not in {"top_kast", "static"}:
        yield (
            f"network.acting_share = {config.network.acting_share}: not with evolution.strategy = "
            f'"{evolution.strategy}", which would replace what does not act yet; use "top_kast"'
        )
    if evolution.final_density is not None and pruning.mode != "off":
        yield (
            f"evolution.final_density = {evolution.final_density}: not with importance_pruning.mode = "
            f'"{pruning.mode}", which changes what it is a share of; use one of them'
        )
