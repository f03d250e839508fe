"""A strategy is one file: with nothing changed elsewhere it trains, is planned, refused, stored and documented."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from hpc_sparse import SparseMLPClassifier
from hpc_sparse.config import RunConfig, Section, parse_config
from hpc_sparse.config.reference import configuration_reference
from hpc_sparse.config.registry import STRATEGIES, Registry
from hpc_sparse.config.section import PositiveCount
from hpc_sparse.errors import ConfigError, ParameterError
from hpc_sparse.evolution.memory import LayerFigures, replacing_bytes
from hpc_sparse.evolution.protocol import LayerUpdate, NetworkView, TopologyUpdater
from hpc_sparse.evolution.selection import draw_free_keys, keep_largest, replace_connections
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.planning.probe import time_network
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.replica_states import (
    initial_replica,
)

THINKING = 1_000_000
"""Bytes that the strategy says it needs beyond all else."""


class SwapSection(Section):
    """strategy = "swap"."""

    n_swaps: PositiveCount = 5
    """Connections of each layer that are replaced."""


@dataclass(frozen=True)
class SwapUpdater(TopologyUpdater):
    """Replace a fixed number of the weakest connections at random."""

    name: ClassVar[str] = "swap"
    section: ClassVar[type[Section]] = SwapSection
    sees_layers_alone: ClassVar[bool] = True

    n_swaps: int = 5

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        """Momentum."""
        momentum = config.optimizer.momentum
        return f'evolution.strategy = "swap": not with optimizer.momentum = {momentum}' if momentum > 0.95 else None

    def update(self, network: NetworkView) -> Sequence[LayerUpdate]:
        """Each layer by itself."""
        updates = []
        for view in network.layers:
            is_kept = keep_largest(view.weight, self.n_swaps)
            grown = draw_free_keys(view.topology, is_kept, self.n_swaps, view.rng)
            updates.append(LayerUpdate(replace_connections(view.topology, is_kept, grown)))
        return updates

    def n_bytes(self, layer: LayerFigures) -> float:
        """Replacing, and thinking about it."""
        return replacing_bytes(layer) + THINKING


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the decorator does in a file of its own, for as long as a test."""
    monkeypatch.setattr(STRATEGIES, "_kinds", dict(STRATEGIES._kinds))
    STRATEGIES.register(SwapUpdater)


def test_it_trains(make_config, make_dataset):
    config, dataset = make_config("evolution.strategy=swap", "evolution.swap.n_swaps=7"), make_dataset()
    replica = initial_replica(config, dataset.info)
    before = [layer.topology.keys() for layer in replica.network.layers]
    trainer = LocalTrainer.start(TrainingJob(ParallelContext.serial(1), config, dataset, replica, SilentReporter()))
    losses = [trainer.train_epoch(epoch).train_loss for epoch in (1, 2)]
    assert losses[1] < losses[0]
    after = [layer.topology.keys() for layer in replica.network.layers]
    *n_gone, n_gone_of_output = [np.setdiff1d(old, new).size for old, new in zip(before, after, strict=True)]
    # Once, before the second epoch; what goes may be drawn again.
    assert all(0 < n <= 7 for n in n_gone)
    assert n_gone_of_output == 0


def test_it_is_planned(make_config, make_dataset):
    info = make_dataset().info

    def peaks(strategy: str) -> dict[str, int]:
        config = make_config(f"evolution.strategy={strategy}")
        return plan_memory(config, NetworkSize.expected(config.network, info.n_features, 3), info, 1).peaks

    added = {strategy: peaks(strategy)["evolution"] - peaks(strategy)["training"] for strategy in ("set", "swap")}
    assert 0 < added["set"] < THINKING < added["swap"] < THINKING + added["set"]
    config = make_config("evolution.strategy=swap")
    assert time_network(config, NetworkSize.expected(config.network, 12, 3), 1).evolve > 0


def test_it_is_refused_from_a_file_and_from_an_estimator(make_config):
    message = 'evolution.strategy = "swap": not with optimizer.momentum = 0.99'
    with pytest.raises(ConfigError, match=message):
        make_config("evolution.strategy=swap", "optimizer.momentum=0.99")
    make_config("evolution.strategy=set", "optimizer.momentum=0.99")
    with pytest.raises(ParameterError, match=f"SparseMLPClassifier: {message}"):
        SparseMLPClassifier(evolution="swap", momentum=0.99).fit(np.eye(8), np.arange(8) % 2)


def test_its_settings_are_checked_stored_sent_to_other_ranks_and_documented(make_config):
    config = make_config("evolution.strategy=swap", "evolution.swap.n_swaps=7")
    assert "[evolution.swap]\nn_swaps = 7" in config.to_toml()
    assert parse_config(config.to_toml(), "stored") == config
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(ConfigError, match=r"evolution.swap.n_swaps = 0: must be .* \(--set evolution.swap.n_swaps=0\)"):
        make_config("evolution.swap.n_swaps=0")
    with pytest.raises(ConfigError, match=r"evolution.swap.n_swap: unknown key; did you mean n_swaps\?"):
        make_config("evolution.swap.n_swap=1")
    assert "## `[evolution.swap]`" in configuration_reference()


@pytest.mark.parametrize("missing", ["update", "n_bytes"])
def test_a_strategy_that_does_not_say_what_it_takes_is_no_strategy(missing):
    incomplete = type("Incomplete", (SwapUpdater,), {missing: getattr(TopologyUpdater, missing)})
    with pytest.raises(TypeError, match=missing):
        incomplete()


def test_two_strategies_of_one_name_are_a_mistake_and_so_is_a_configuration_before_there_are_any():
    with pytest.raises(AssertionError, match="two kinds are called swap"):
        STRATEGIES.register(type("SwapUpdater", (SwapUpdater,), {}))
    with pytest.raises(RuntimeError, match=r"import a\.package before"):
        Registry("a.key", "a.package").names()
