"""Removal of the weakest blocks of trained networks: which go, what the file holds, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.config import parse_config
from hpc_sparse.errors import InputError
from hpc_sparse.models.block_removal import connections_left, without_weakest_blocks
from hpc_sparse.models.pruning import PruningRequest, prune_checkpoint
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint
from hpc_sparse.storage.checkpoint.front_end import statistics_arrays
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.training.replica_states import initial_replica, replica_from_states, replica_to_states

CTX = ParallelContext.serial(threads=1)
BLOCKS = (
    "network.connections=block",
    "network.block=[4, 4]",
    "network.density=0.6",
    "evolution.strategy=static",
    "importance_pruning.mode=off",
)


@pytest.fixture
def config(make_config):
    return make_config(*BLOCKS)


@pytest.fixture
def checkpoint(tmp_path, write_small_data, config):
    """A network in blocks with velocities of its own, and its replica."""
    dataset = load_dataset(CTX, write_small_data(tmp_path / "small.h5"))
    replica, rng = initial_replica(config, dataset.info), np.random.default_rng(6)
    for state in replica.states:
        state["velocity"]["weight"][:] = rng.standard_normal(state["velocity"]["weight"].size)
    layers, front_end = replica_to_states(replica), statistics_arrays(dataset.mean, dataset.deviation)
    state = Checkpoint(config.to_toml(), 3, 36, 1, layers, {}, history_best=None, front_end=front_end)
    write_checkpoint(CTX, tmp_path / "net.h5", state)
    return tmp_path / "net.h5", replica


def strongest(connections, percentile):
    """float32[n_kept, 16] of the blocks above a percentile of their norms, by NumPy."""
    blocks = connections.weight.reshape(-1, connections.values_per_unit).astype(np.float64)
    norms = np.sqrt((blocks**2).sum(axis=1))
    return blocks[norms > np.percentile(norms, percentile)]


def test_the_weakest_blocks_of_each_map_go_with_their_velocities(checkpoint):
    path, replica = checkpoint
    result = prune_checkpoint(CTX, PruningRequest(path, percentile=40))
    found = read_checkpoint(CTX, path.with_name("net-pruned.h5"))
    again = replica_from_states(parse_config(found.config_text, "test"), found.layers)
    again.check_invariants()
    for number, (layer, before) in enumerate(zip(again.network.layers[:-1], replica.network.layers, strict=False)):
        np.testing.assert_allclose(layer.weight.reshape(-1, 16), strongest(before.incoming, 40), rtol=1e-6)
        kept = np.isin(before.topology.keys(), layer.topology.keys())
        velocities = replica.states[number]["velocity"]["weight"].reshape(-1, 16)[kept]
        np.testing.assert_array_equal(again.states[number]["velocity"]["weight"].reshape(-1, 16), velocities)
    last, before = again.network.layers[-1], replica.network.layers[-1]
    np.testing.assert_array_equal(last.weight, before.weight)
    assert again.network.widths == replica.network.widths
    assert result["pruned"] == "blocks"
    assert result["sizes"][1]["connections"] == again.network.n_connections < replica.network.n_connections


def test_a_size_is_reached_by_the_least_percentile(checkpoint):
    path, replica = checkpoint
    target = replica.network.n_connections // 2
    result = prune_checkpoint(CTX, PruningRequest(path, target_connections=target))
    left, percentile = result["sizes"][1]["connections"], result["percentile"]
    assert left <= target < connections_left(replica.network, percentile - 100 / 15, "norm")
    assert left == without_weakest_blocks(replica, percentile, "norm").network.n_connections


def test_one_block_of_each_map_stays(checkpoint):
    path, replica = checkpoint
    pruned = without_weakest_blocks(replica, 99.9, "norm")
    assert [layer.topology.n_connections for layer in pruned.network.layers[:-1]] == [1, 1]
    with pytest.raises(InputError, match="when every map in blocks has lost all of them but the strongest"):
        prune_checkpoint(CTX, PruningRequest(path, target_connections=1))


def test_the_replica_that_is_pruned_stays_as_it_was(checkpoint):
    _, replica = checkpoint
    before = [(layer.topology, layer.weight.copy()) for layer in replica.network.layers]
    without_weakest_blocks(replica, 50, "largest")
    for (topology, weight), layer in zip(before, replica.network.layers, strict=True):
        assert layer.topology is topology
        np.testing.assert_array_equal(layer.weight, weight)
    assert without_weakest_blocks(replica, 0, "norm") is replica


def test_inputs_are_not_taken_from_blocks(checkpoint):
    path, _ = checkpoint
    with pytest.raises(InputError, match=r"--inputs = 20: .* in blocks, which hold several neurons: expected 0"):
        prune_checkpoint(CTX, PruningRequest(path, percentile=20, input_percentile=20))
    assert not path.with_name("net-pruned.h5").exists()
