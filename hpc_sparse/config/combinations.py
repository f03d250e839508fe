"""Settings of different sections that do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hpc_sparse.config.layers import CHOSEN_BY_DATA, file_of, shown
from hpc_sparse.config.registry import OBJECTIVES, OPTIMIZERS, STRATEGIES

if TYPE_CHECKING:
    from hpc_sparse.config.layers import LayerSection
    from hpc_sparse.config.network import NetworkSection
    from hpc_sparse.config.run_config import RunConfig

LAYERS_IN_PARTS = ("sparse",)
"""Kinds of layers that can be divided."""

CONNECTIONS_IN_PARTS = ("csr", "dense")
"""Kinds of connections that can be divided."""

DRAWN_BY_PATTERN = ("csr", "block")
"""Kinds of connections of which a layer's own initial topology says where they are."""

IMPORTANCES_IN_PARTS = ("incoming", "two_sided")
"""Importances of neurons by which a network in parts can be pruned."""


def wrong_combinations(config: RunConfig) -> Iterator[str]:
    """One line per setting that contradicts others: the key, its value, and what it would need."""
    said = set[str]()
    for line in _contradictions(config):
        setting = line.partition(": ")[0]
        if setting not in said:
            said.add(setting)
            yield line


def _contradictions(config: RunConfig) -> Iterator[str]:
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
    yield from _wrong_topologies(config)
    yield from _wrong_training(config)
    if evolution.final_density is not None and pruning.mode != "off":
        yield (
            f"evolution.final_density = {evolution.final_density}: not with importance_pruning.mode = "
            f'"{pruning.mode}", which changes what it is a share of; use one of them'
        )
    for connections in network.kinds_of_connections:
        yield from connections.refuses(config)
    yield from _wrong_block_pruning(config)
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
    yield from _refused_in_parts(config)


def _wrong_topologies(config: RunConfig) -> Iterator[str]:
    """Settings that do not go together with initial topologies of single layers and from files."""
    network, final = config.network, config.evolution.final_density
    if file_of(network.initial_topology) and not network.hidden:
        yield (
            f"network.initial_topology = {shown(network.initial_topology)}: needs a hidden layer, whose neurons are "
            "the groups"
        )
    for number, topology in enumerate(network.initial_topologies):
        layer = network.layer(number)
        place = "network" if layer.initial_topology is None else f"network.layers.{number}"
        setting = f"{place}.initial_topology = {shown(topology)}"
        if layer.initial_topology is not None and network.initial_topology in CHOSEN_BY_DATA:
            yield (
                f'{setting}: not with network.initial_topology = "{network.initial_topology}", which chooses the '
                "connections of all hidden layers"
            )
        if number in network.topology_files:
            yield from _wrong_with_file(setting, layer)
            if final is not None:
                yield f"{setting}: not with evolution.final_density = {final}; the file says how many there are"
        elif layer.initial_topology is not None and layer.connections not in DRAWN_BY_PATTERN:
            yield f'{setting}: not with connections = "{layer.connections}"; use {_any_of(DRAWN_BY_PATTERN)}'


def _wrong_with_file(setting: str, layer: LayerSection) -> Iterator[str]:
    """Keys of a layer that do not go together with connections from a file."""
    if layer.reads_sequences or layer.reads_images:
        yield f'{setting}: not with kind = "{layer.kind}", whose connections are no pairs of neurons'
    if layer.connections != "csr":
        yield f'{setting}: not with connections = "{layer.connections}"; use "csr"'
    if layer.density is not None:
        yield f"{setting}: not with density = {layer.density} of the layer; the file says how many there are"


def _wrong_with_steps(config: RunConfig) -> Iterator[str]:
    """Settings that do not go together with outputs of each step of a sequence."""
    if not getattr(OBJECTIVES[config.training.loss], "takes_places", False):
        yield (
            f'training.loss = "{config.training.loss}": not with outputs of each step; use "cross_entropy", or '
            'output = "last" in the last recurrent layer'
        )
    if config.training.class_weight is not None:
        yield "training.class_weight: not with outputs of each step, whose classes weigh the same"


def _wrong_training(config: RunConfig) -> Iterator[str]:
    """Settings of training that need others."""
    training, parallel = config.training, config.parallel
    if config.network.gives_sequences:
        yield from _wrong_with_steps(config)
    if training.class_weight is not None and training.loss != "cross_entropy":
        yield f'training.class_weight: not with training.loss = "{training.loss}"; use "cross_entropy"'
    average = config.optimizer.average
    if average != "none" and parallel.algorithm != "local_sgd":
        yield (
            f'optimizer.average = "{average}": not with parallel.algorithm = "{parallel.algorithm}", whose workers are '
            'averaged in the end; use "local_sgd"'
        )
    if training.early_stopping is None:
        return
    if average != "none":
        yield (
            f'optimizer.average = "{average}": not with training.early_stopping, by which the epochs that it is of may '
            "not come"
        )
    if not config.data.validation_fraction:
        yield (
            f"training.early_stopping = {training.early_stopping}: needs a validation part; set "
            "data.validation_fraction, such as 0.1"
        )
    if parallel.algorithm != "local_sgd":
        yield (
            f"training.early_stopping = {training.early_stopping}: not with parallel.algorithm = "
            f'"{parallel.algorithm}", whose last epochs must come; use "local_sgd"'
        )


def _wrong_block_pruning(config: RunConfig) -> Iterator[str]:
    """Settings that do not go together with blocks that become fewer."""
    pruning, lasso, parallel = config.block_pruning, config.group_lasso, config.parallel
    keys = [
        *((f"block_pruning.{key}", getattr(pruning, key)) for key in ("threshold", "recurrent_threshold")),
        *((f"group_lasso.{key}", getattr(lasso, key)) for key in ("strength", "recurrent_strength")),
    ]
    on = [f"{key} = {value}" for key, value in keys if value]
    if not on:
        return
    if not config.network.has_units:
        yield f'{on[0]}: needs connections in blocks; set network.connections = "block"'
    elif not config.network.reads_sequences:
        yield from (
            f"{key} = {value}: needs recurrent layers, which have connections to themselves"
            for key, value in keys
            if value and ".recurrent_" in key
        )
    if parallel.algorithm == "local_sgd" and parallel.replica_topology == "independent":
        yield f'{on[0]}: not with parallel.replica_topology = "independent", where ranks would prune other blocks'
    if not pruning.is_on:
        return
    if config.evolution.strategy != "static":
        yield (
            f'{on[0]}: not with evolution.strategy = "{config.evolution.strategy}", which would grow what has been '
            'pruned; use "static"'
        )
    if parallel.overlap and parallel.algorithm == "local_sgd":
        yield f"{on[0]}: not with parallel.overlap = true, where replicas do not agree before the end of an epoch"
    if pruning.after_epoch >= pruning.ramp * config.training.epochs:
        yield (
            f"block_pruning.after_epoch = {pruning.after_epoch}: must be < ramp x training.epochs = "
            f"{pruning.ramp * config.training.epochs:g}, where the threshold begins to rise faster"
        )


def _refused_in_parts(config: RunConfig) -> Iterator[str]:
    """One line per setting that does not go together with ``parallel.model``; none where each rank has all neurons."""
    n_parts = config.parallel.model
    for setting, use in _not_in_parts(config) if n_parts > 1 else ():
        yield f"{setting}: not with parallel.model = {n_parts}, a network in parts; use {use}"


def _not_in_parts(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Settings as ``key = value``, and what works instead."""
    yield from _layers_not_in_parts(config.network)
    yield from _evolution_not_in_parts(config)
    parallel, optimizer = config.parallel, config.optimizer
    for place, value, works in (
        ("parallel.algorithm", parallel.algorithm, "local_sgd"),
        ("parallel.replica_topology", parallel.replica_topology, "shared"),
        ("parallel.overlap", parallel.overlap, False),
        ("optimizer.velocity", optimizer.velocity, "float32"),
        ("optimizer.average", optimizer.average, "none"),
    ):
        if value != works:
            yield f"{place} = {shown(value)}", shown(works)
    if optimizer.clip_norm is not None:
        yield f"optimizer.clip_norm = {optimizer.clip_norm}", "none"


def _layers_not_in_parts(network: NetworkSection) -> Iterator[tuple[str, str]]:
    for number in range(len(network.hidden)):
        layer = network.layer(number)
        place = "network" if network.layers is None else f"network.layers.{number}"
        if layer.kind not in LAYERS_IN_PARTS:
            yield f"{place}.kind = {shown(layer.kind)}", _any_of(LAYERS_IN_PARTS)
        if layer.connections not in CONNECTIONS_IN_PARTS:
            yield f"{place}.connections = {shown(layer.connections)}", _any_of(CONNECTIONS_IN_PARTS)
    if network.initial_topology in CHOSEN_BY_DATA:
        yield f"network.initial_topology = {shown(network.initial_topology)}", shown(network.random_pattern)


def _evolution_not_in_parts(config: RunConfig) -> Iterator[tuple[str, str]]:
    evolution, pruning = config.evolution, config.importance_pruning
    work = [name for name in STRATEGIES.names() if getattr(STRATEGIES[name], "works_in_parts", False)]
    if evolution.strategy not in work:
        yield f"evolution.strategy = {shown(evolution.strategy)}", _any_of(work)
    share = getattr(evolution.own(evolution.strategy, STRATEGIES[evolution.strategy].section), "acting_share", 1.0)
    if share < 1:
        yield f"evolution.{evolution.strategy}.acting_share = {share}", "1"
    if pruning.mode != "off" and pruning.importance not in IMPORTANCES_IN_PARTS:
        yield f"importance_pruning.importance = {shown(pruning.importance)}", _any_of(IMPORTANCES_IN_PARTS)


def _any_of(names: Sequence[str]) -> str:
    return " or ".join(map(shown, names))
