"""What phases of a run take for a while, against what NumPy really allocates."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.densities import densities
from hpc_sparse.network.layer_signals import layer_signals
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning import phases
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.runs.first_topology import choose_first_topology
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.training.evolution_step import Evolution
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.replica_states import (
    initial_replica,
    random_replica,
    replica_to_states,
)

WIDTHS = [500, 9000, 7001, 11000, 7]
OTHER = 200_000
"""Bytes that Python itself and small arrays may take."""


def draw(config) -> Network:
    network = config.network
    return Network.random(
        WIDTHS,
        densities(network, WIDTHS),
        activation=network.activation,
        alpha=network.alpha,
        initializer=network.initializer,
        pattern=network.initial_topology,
        seed=0,
    )


@pytest.mark.parametrize(
    ("override", "tolerance"),
    [
        ("network.initializer=he_uniform", 0.03),
        ("network.initializer=he_fan_in", 0.03),
        ("network.initializer=normal", 0.1),
        ("network.epsilon=30", 0.03),
        ("network.initial_topology=constant_fan_in", 0.15),
        ("network.initial_topology=lognormal_fan_in", 0.15),
        ("network.initial_topology=covering", 0.15),
    ],
)
def test_building_a_network_takes_what_is_planned(wide_config, peak_of, override, tolerance):
    config = wide_config(override)
    planned = phases.construction_bytes(config.network, NetworkSize.expected(config.network, WIDTHS[0], WIDTHS[-1]))
    assert peak_of(lambda: draw(config)) == pytest.approx(planned, rel=tolerance, abs=OTHER)


def index_as_training_does(network: Network) -> None:
    """No deltas go below the first layer."""
    for number, layer in enumerate(network.layers):
        _ = layer.topology.bounds
        if number:
            _ = layer.topology.transposed


@pytest.mark.parametrize(
    "override", ["evolution.drop_fraction=0.3", "evolution.drop_fraction=0.8", "network.epsilon=30"]
)
def test_evolution_takes_what_is_planned(wide_config, peak_of, override):
    config = wide_config(override)
    network = draw(config)
    replica = Replica.at_rest(network)
    planned = phases.evolution_bytes(config, NetworkSize.expected(config.network, WIDTHS[0], WIDTHS[-1]), WIDTHS[0])

    def index() -> None:
        index_as_training_does(replica.network)

    index()
    assert peak_of(lambda: Evolution(config, keeps_changes=False).step(replica, 2), index) == pytest.approx(
        planned, rel=0.05, abs=OTHER
    )


class Growth:
    """The signals of as many random samples."""

    def __init__(self, n_samples: int) -> None:
        self._n_samples = n_samples

    def signals(self, network, rng):
        values = rng.standard_normal((network.widths[0], self._n_samples), np.float32)
        batch = Tiles.of(values, network.tile_width)
        return layer_signals(network, batch, np.zeros(self._n_samples, np.int32), CrossEntropy())


@pytest.mark.parametrize(
    ("strategy", "n_samples", "overrides"),
    [
        ("rigl", 200, []),
        ("rigl", 120, []),
        ("rigl", 10, ["evolution.drop_fraction=0.7"]),
        ("srigl", 200, []),
        ("srigl", 120, []),
        ("srigl", 10, []),
        ("gse", 200, []),
        ("gse", 2000, ["network.epsilon=5"]),
        ("gse", 2000, ["network.epsilon=5", "evolution.gse.candidates=graest"]),
        ("snfs", 200, []),
        ("snfs", 2000, ["network.epsilon=5"]),
        ("rigl", 2000, ["network.epsilon=5"]),
        ("srigl", 2000, ["network.epsilon=5"]),
        ("gse", 10, ["evolution.gse.candidate_ratio=0.5"]),
        ("gse", 10, ["evolution.gse.candidate_ratio=2"]),
        ("snfs", 10, ["evolution.snfs.candidate_ratio=2"]),
        ("deep_r", 10, []),
        ("top_kast", 10, ["evolution.top_kast.acting_share=0.5"]),
        ("cht", 10, ["network.epsilon=15"]),
    ],
)
def test_no_strategy_takes_more_than_is_planned_nor_much_less(wide_config, peak_of, strategy, n_samples, overrides):
    names = [f"evolution.strategy={strategy}", f"evolution.growth_samples={n_samples}", "evolution.drop_fraction=0.3"]
    names += ["evolution.drop_schedule=constant"]
    config = wide_config("network.hidden=[901,1201]", "network.epsilon=40", *names, *overrides)
    replica = random_replica(config, 300, 7)
    size = NetworkSize.expected(config.network, 300, 7)

    def index() -> None:
        index_as_training_does(replica.network)

    index()
    found = peak_of(lambda: Evolution(config, growth=Growth(n_samples), keeps_changes=False).step(replica, 2), index)
    assert 0.7 < found / phases.evolution_bytes(config, size, 300) < 1.05


@pytest.mark.parametrize("n_samples", [16, 120, 200])
@pytest.mark.parametrize("topology", ["snip", "grasp", "csti"])
def test_data_that_choose_the_first_topology_take_what_is_planned(
    wide_config, make_dataset, peak_of, topology, n_samples
):
    names = [f"network.initial_topology={topology}", f"evolution.growth_samples={n_samples}"]
    config = wide_config("network.hidden=[901,1201]", "network.epsilon=40", *names)
    dataset = make_dataset()
    replica = initial_replica(config, dataset.info)
    size = NetworkSize.expected(config.network, dataset.info.n_features, replica.network.widths[-1])
    job = TrainingJob(ParallelContext.serial(threads=1), config, dataset, replica, SilentReporter())
    found = peak_of(lambda: choose_first_topology(job))
    planned = phases.choosing_bytes(config, size, dataset.info.n_features)
    assert 0.5 < found / planned < 1.05


def test_a_topology_that_stays_takes_nothing(wide_config):
    config = wide_config("evolution.strategy=static")
    assert phases.evolution_bytes(config, NetworkSize.expected(config.network, 500, 7), 500) == 0


def test_one_rank_writes_a_checkpoint_without_copies(wide_config, peak_of, tmp_path):
    config = wide_config("network.epsilon=150")
    network = draw(config)
    states = replica_to_states(Replica.at_rest(network))
    checkpoint = Checkpoint("", 1, 1, 1, states, {}, None)
    ctx = ParallelContext.serial(threads=1)
    assert phases.checkpoint_bytes(config, NetworkSize.expected(config.network, 500, 7), 1) == 0
    # Not even half of one hidden layer's weights. What else it allocates for a while, such as the text of installed
    # packages' metadata to read versions from, is about half a megabyte.
    half_of_a_layer = min(state.parameters["weight"].nbytes for state in states[:-1]) // 2
    assert half_of_a_layer > 10 * OTHER
    assert peak_of(lambda: write_checkpoint(ctx, tmp_path / "file.h5", checkpoint)) < half_of_a_layer
