"""Settings that do not work where several ranks hold one network together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hpc_sparse.config.layers import shown
from hpc_sparse.config.registry import STRATEGIES

if TYPE_CHECKING:
    from hpc_sparse.config.network import NetworkSection
    from hpc_sparse.config.run_config import RunConfig

LAYERS = ("sparse",)
"""Kinds of layers that can be divided."""

CONNECTIONS = ("csr", "dense")
"""Kinds of connections that can be divided."""

STATIC = "static"


def refused_in_parts(config: RunConfig) -> Iterator[str]:
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
        if layer.kind not in LAYERS:
            yield f"{place}.kind = {shown(layer.kind)}", _any_of(LAYERS)
        if layer.connections not in CONNECTIONS:
            yield f"{place}.connections = {shown(layer.connections)}", _any_of(CONNECTIONS)
    if network.initial_topology != network.random_pattern:
        yield f"network.initial_topology = {shown(network.initial_topology)}", shown(network.random_pattern)


def _evolution_not_in_parts(config: RunConfig) -> Iterator[tuple[str, str]]:
    evolution, pruning = config.evolution, config.importance_pruning
    work = [name for name in STRATEGIES.names() if name == STATIC or getattr(STRATEGIES[name], "works_in_parts", False)]
    if evolution.strategy not in work:
        yield f"evolution.strategy = {shown(evolution.strategy)}", _any_of(work)
    share = getattr(evolution.own(evolution.strategy, STRATEGIES[evolution.strategy].section), "acting_share", 1.0)
    if share < 1:
        yield f"evolution.{evolution.strategy}.acting_share = {share}", "1"
    if pruning.mode != "off":
        yield f"importance_pruning.mode = {shown(pruning.mode)}", shown("off")


def _any_of(names: Sequence[str]) -> str:
    return " or ".join(map(shown, names))
