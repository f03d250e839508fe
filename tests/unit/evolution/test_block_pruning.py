"""Blocks that become fewer: the published schedule, and group lasso."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.config import RunConfig, parse_config
from hpc_sparse.errors import ConfigError
from hpc_sparse.evolution.block_pruning import BlockPruner, ThresholdSchedule
from hpc_sparse.evolution.schedule import TimeInRun
from hpc_sparse.network.connections.block import Block
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.group_lasso import GroupLasso

BLOCKS = ("network.connections=block", "network.block=[4,4]", "evolution.strategy=static", "training.epochs=20")


def published(iteration, q, freq, start, ramp, end):
    """The authors' listing; theta so that the threshold is q at the end."""
    theta = 2 * q * freq / (2 * (ramp - start) + 3 * (end - ramp))
    phi = 1.5 * theta
    if iteration < ramp:
        return theta * (iteration - start + 1) / freq
    return (theta * (ramp - start + 1) + phi * (iteration - ramp + 1)) / freq


def test_the_threshold_is_the_published_one():
    schedule = ThresholdSchedule(0.2, 100, 1_000.0, 5_000.0, 10_000.0)
    for step in (1_100, 3_000, 4_900, 5_100, 9_900):
        assert schedule.threshold_at(step) == pytest.approx(published(step, 0.2, 100, 1_000, 5_000, 10_000))
    assert schedule.threshold_at(10_000) == pytest.approx(0.2, rel=1e-3)
    due = [step for step in range(20_000) if schedule.is_due(step)]
    assert (due[0], due[-1], len(due)) == (1_100, 9_900, 89)


def block_of(values):
    """A row of blocks of 2 x 2 on 4 x 4, as [n, 4, 4] with one value in the corner of each."""
    weight = np.zeros((len(values), 16), np.float32)
    weight[:, 3] = values
    topology = Topology.from_keys((1, len(values)), np.arange(len(values)))
    return Block((4, 4 * len(values)), (4, 4), topology, weight.reshape(-1))


def test_small_blocks_go_and_the_largest_stays(make_config):
    pruner = BlockPruner.from_config(make_config(*BLOCKS, "block_pruning.threshold=0.5"), n_steps=100)
    early, late, never = TimeInRun(1, 50, 100), TimeInRun(9, 0, 100), TimeInRun(10, 0, 100)
    assert [pruner.is_due(time) for time in (early, late, never)] == [False, True, False]
    change = pruner.removal("input", block_of([0.1, -0.6, 0.3, 0.5]), late)
    assert change.topology.indices.tolist() == [1, 3]
    assert change.old_position.tolist() == [1, 3]
    assert pruner.removal("input", block_of([0.1, -0.2, 0.15]), late).topology.indices.tolist() == [1]
    assert pruner.removal("input", block_of([0.6, 0.7]), late) is None
    assert pruner.removal("input", block_of([0.0, 0.1]), never).topology.indices.tolist() == [1]


RECURRENT = ("network.layers=[{kind='recurrent', n=24}]", "evolution.strategy=static", "training.epochs=20")
RECURRENT_BLOCKS = (*RECURRENT, "network.connections=block", "network.block=[4,4]")


@pytest.fixture
def make_recurrent():
    """Make the configuration of a recurrent layer with blocks."""

    def make(*overrides):
        text = """
            data.path = "small.h5"
            network.density = 1.0
            training = { epochs = 4, batch_size = 20 }
            optimizer.learning_rate = 0.05
        """
        return parse_config(text, "small.toml", [*RECURRENT_BLOCKS, *overrides])

    return make


def test_maps_are_pruned_alone_where_only_they_have_a_threshold(make_recurrent):
    pruner = BlockPruner.from_config(make_recurrent("block_pruning.recurrent_threshold=0.5"), n_steps=100)
    time = TimeInRun(9, 0, 100)
    assert pruner.is_due(time)
    assert pruner.removal("recurrent", block_of([0.1, 0.6]), time).topology.indices.tolist() == [1]
    assert pruner.removal("input", block_of([0.1, 0.6]), time) is None


@pytest.mark.parametrize("strengths", [(0.2, 0.1), (0.0, 0.1), (0.2, 0.0)])
def test_maps_shrink_by_strengths_of_their_own(make_recurrent, strengths):
    own, recurrent = strengths
    config = make_recurrent(f"group_lasso.strength={own}", f"group_lasso.recurrent_strength={recurrent}")
    network = Network.from_config(config.network, 8, 3, seed=1, n_places=5)
    before = [connections.weight.copy() for connections in network.layers[0].connections().values()]
    GroupLasso.from_config(config).apply(network, 0.5)
    after = network.layers[0].connections().values()
    for connections, weight, strength in zip(after, before, strengths, strict=True):
        old, new = (np.linalg.norm(each.reshape(-1, 16), axis=1) for each in (weight, connections.weight))
        np.testing.assert_allclose(new, np.maximum(0, old - 0.5 * strength), rtol=1e-5)


def test_other_maps_have_a_threshold_of_their_own(make_recurrent):
    config = make_recurrent("block_pruning.threshold=0.5", "block_pruning.recurrent_threshold=5")
    pruner = BlockPruner.from_config(config, n_steps=100)
    time = TimeInRun(9, 0, 100)
    assert pruner.removal("recurrent", block_of([0.6, 2.0, 0.7]), time).topology.indices.tolist() == [1]
    assert pruner.removal("input", block_of([0.6, 2.0, 0.7]), time) is None


def test_a_proximal_step_shrinks_norms_and_leaves_directions(make_config):
    config = make_config(*BLOCKS, "group_lasso.strength=2", "network.epsilon=12")
    network = Network.from_config(config.network, 30, 3, seed=1)
    before = [connections.weight.copy() for _, connections in network.connections()]
    GroupLasso.from_config(config).apply(network, 0.1)
    for (_, connections), weight in zip(network.connections(), before, strict=True):
        if connections.unit == (1, 1):
            np.testing.assert_array_equal(connections.weight, weight)
            continue
        old, new = weight.reshape(-1, 16).astype(np.float64), connections.weight.reshape(-1, 16)
        norms = np.linalg.norm(old, axis=1, keepdims=True)
        np.testing.assert_allclose(new, old * np.maximum(0, 1 - 0.2 / norms), rtol=1e-5, atol=1e-7)
    assert GroupLasso.from_config(make_config(*BLOCKS)) is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("block_pruning.threshold=1", "block_pruning.end=0.2"), "end = 0.2: must be > ramp = 0.25"),
        (("block_pruning.threshold=1", "evolution.strategy=set"), 'not with evolution.strategy = "set"'),
        (("block_pruning.threshold=1", "training.epochs=4"), "after_epoch = 1: must be < ramp x training.epochs = 1,"),
        (("group_lasso.strength=1", "network.connections=csr"), "needs connections in blocks"),
        (("block_pruning.recurrent_threshold=1",), "block_pruning.recurrent_threshold = 1.0: needs recurrent layers"),
        (("group_lasso.recurrent_strength=1",), "group_lasso.recurrent_strength = 1.0: needs recurrent layers"),
        (("group_lasso.strength=1", "parallel.replica_topology=independent"), "other blocks"),
        (("importance_pruning.mode=compact",), "not with connections in blocks"),
        (("network.initial_topology=snip",), "chooses single connections, not blocks"),
        (("evolution.strategy=cht",), "decides about single connections, not blocks"),
        (("evolution.static.acting_share=0.5",), "chooses single connections, not blocks"),
        (("network.block=[4,5]",), "network.block.1 = 5: must be 1, 4, 8, 16 or 32"),
        (
            ("network.connections=bsr",),
            "network.connections = 'bsr': must be 'csr', 'dense', 'block', 'n_of_m' or 'diagonal'",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(make_config, overrides, message):
    usual = BLOCKS if not any("connections=" in each for each in overrides) else BLOCKS[2:]
    make_config(*usual)
    with pytest.raises(ConfigError) as caught:
        make_config(*usual, *overrides)
    assert message in str(caught.value)


def test_all_settings_are_stored(make_config):
    config = make_config(*BLOCKS, "block_pruning.threshold=0.5", "group_lasso.strength=0.25")
    assert isinstance(config, RunConfig)
    text = config.to_toml()
    assert 'connections = "block"\nblock = [4, 4]' in text
    assert "[block_pruning]\nthreshold = 0.5" in text
    assert "[group_lasso]\nstrength = 0.25" in text
