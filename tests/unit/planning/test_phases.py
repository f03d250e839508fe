"""What phases of a run take for a while, against what NumPy really allocates."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from hpc_sparse.network.densities import densities
from hpc_sparse.network.mlp import SparseMLP
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning import phases
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.storage.checkpoint import Checkpoint, write_checkpoint
from hpc_sparse.training.evolving import Evolution
from hpc_sparse.training.replica import Replica

WIDTHS = [500, 9000, 7001, 11000, 7]
OTHER = 200_000
"""Bytes that Python itself and small arrays may take."""


@pytest.fixture
def peak_of() -> Iterator[Callable[[Callable[[], object]], int]]:
    """The most bytes that a call has allocated at any time; the second one counts, so nothing is compiled in it."""

    def measure(action: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> int:
        action()
        prepare()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        action()
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    yield measure
    tracemalloc.stop()


def draw(config) -> SparseMLP:
    network = config.network
    return SparseMLP.random(
        WIDTHS,
        densities(network, WIDTHS),
        activation=network.activation,
        alpha=network.alpha,
        initializer=network.initializer,
        pattern=network.topology,
        seed=0,
    )


@pytest.mark.parametrize(
    ("override", "tolerance"),
    [
        ("network.initializer=he_uniform", 0.03),
        ("network.initializer=he_fan_in", 0.03),
        ("network.initializer=normal", 0.1),
        ("network.epsilon=30", 0.03),
        ("network.topology=constant_fan_in", 0.15),
        ("network.topology=lognormal_fan_in", 0.15),
    ],
)
def test_building_a_network_takes_what_is_planned(wide_config, peak_of, override, tolerance):
    config = wide_config(override)
    planned = phases.construction_bytes(config.network, NetworkSize.expected(config.network, WIDTHS[0], WIDTHS[-1]))
    assert peak_of(lambda: draw(config)) == pytest.approx(planned, rel=tolerance, abs=OTHER)


@pytest.mark.parametrize(
    "override", ["evolution.drop_fraction=0.3", "evolution.drop_fraction=0.8", "network.epsilon=30"]
)
def test_evolution_takes_what_is_planned(wide_config, peak_of, override):
    config = wide_config(override)
    network = draw(config)
    replica = Replica(network, network.resting_velocities())
    planned = phases.evolution_bytes(config, NetworkSize.expected(config.network, WIDTHS[0], WIDTHS[-1]), WIDTHS[0])

    def index() -> None:
        for layer in replica.network.layers:
            _ = layer.topology.transposed, layer.topology.bounds

    index()
    assert peak_of(lambda: Evolution(config).step(replica, 2), index) == pytest.approx(planned, rel=0.05, abs=OTHER)


def test_a_topology_that_stays_takes_nothing(wide_config):
    config = wide_config("evolution.strategy=static")
    assert phases.evolution_bytes(config, NetworkSize.expected(config.network, 500, 7), 500) == 0


def test_one_rank_writes_a_checkpoint_without_copies(wide_config, peak_of, tmp_path):
    config = wide_config("network.epsilon=30")
    network = draw(config)
    states = Replica(network, network.resting_velocities()).to_states("all_relu")
    checkpoint = Checkpoint("", 1, 1, 1, states, {}, None)
    ctx = ParallelContext.serial(threads=1)
    assert phases.checkpoint_bytes(config, NetworkSize.expected(config.network, 500, 7), 1) == 0
    # Not even half of one hidden layer's weights: the rest of the program allocates a little, more after other tests.
    half_of_a_layer = min(state.weight.nbytes for state in states[:-1]) // 2
    assert peak_of(lambda: write_checkpoint(ctx, tmp_path / "file.h5", checkpoint)) < half_of_a_layer
