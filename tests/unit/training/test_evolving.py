"""What happens to a network before an epoch, and when."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.importance import ImportancePruner
from hpc_sparse.parallel.local_sgd import network_digest
from hpc_sparse.training.evolving import Evolution
from hpc_sparse.training.replica import Replica, check_invariants

PRUNES = ("importance_pruning.mode=compact", "importance_pruning.after_epoch=2", "importance_pruning.every_epochs=2")


def make_replica(config, dataset):
    """With velocities that tell what became of them."""
    replica = Replica.initial(config, dataset.info)
    rng = np.random.default_rng(5)
    for layer, velocity in zip(replica.network.layers, replica.velocities, strict=True):
        layer.bias = rng.standard_normal(layer.bias.size).astype(np.float32)
        velocity.weight = 1 + rng.random(layer.weight.size).astype(np.float32)
        velocity.bias = 1 + rng.random(layer.bias.size).astype(np.float32)
    return replica


def history(config, dataset, n_epochs=9, **options):
    """For each epoch whether the network was pruned and whether it evolved before it."""
    replica, evolution, found = make_replica(config, dataset), Evolution(config), []
    for epoch in range(1, n_epochs + 1):
        step = evolution.step(replica, epoch, **options)
        check_invariants(replica)
        found.append((step is not None and step.pruning is not None, step is not None and step.n_grown > 0))
    return found


def test_a_topology_evolves_every_so_many_epochs_but_not_before_the_first(make_config, make_dataset):
    evolved = [each for _, each in history(make_config("evolution.every_epochs=3"), make_dataset())]
    assert evolved == [False, False, False, True, False, False, True, False, False]
    assert not any(each for _, each in history(make_config("evolution.strategy=static"), make_dataset()))


def test_pruning_begins_after_its_epoch_and_comes_every_so_many(make_config, make_dataset):
    # After epochs 4, 6 and 8: "no pruning before epoch 2 is over" leaves out the one right then.
    expected = [False, False, False, False, True, False, True, False, True]
    assert [each for each, _ in history(make_config(*PRUNES), make_dataset())] == expected
    until_six = [each and number < 8 for number, each in enumerate(expected)]
    assert [
        each for each, _ in history(make_config(*PRUNES, "importance_pruning.until_epoch=6"), make_dataset())
    ] == until_six
    assert not any(each for each, _ in history(make_config(*PRUNES), make_dataset(), may_prune=False))
    assert not any(each for each, _ in history(make_config(), make_dataset()))


def test_what_is_kept_keeps_weight_and_velocity_and_what_is_grown_gets_a_weight_and_rests(make_config, make_dataset):
    config, dataset = make_config("network.epsilon=3"), make_dataset()
    replica = make_replica(config, dataset)
    before = [
        dict(zip(layer.topology.keys().tolist(), zip(layer.weight, velocity.weight, strict=True), strict=True))
        for layer, velocity in zip(replica.network.layers, replica.velocities, strict=True)
    ]
    step = Evolution(config).step(replica, 2)
    assert step.pruning is None
    assert step.growth[-1] is None
    n_grown = 0
    for layer, velocity, old in zip(replica.network.layers, replica.velocities, before, strict=True):
        for key, weight, speed in zip(layer.topology.keys().tolist(), layer.weight, velocity.weight, strict=True):
            n_grown += speed == 0
            assert weight != 0
            assert speed == 0 or (weight, speed) == old[key]
    assert n_grown == step.n_grown
    n_first = replica.network.layers[0].weight.size
    assert 0 < np.count_nonzero(replica.velocities[0].weight == 0) <= 0.3 * n_first


@pytest.mark.parametrize("mode", ["compact", "released"])
def test_a_composed_change_carries_what_was_there_before_to_where_it_is_now(make_config, make_dataset, mode):
    config, dataset = make_config(*PRUNES, f"importance_pruning.mode={mode}", "network.epsilon=3"), make_dataset()
    replica = make_replica(config, dataset)
    velocities = [(velocity.weight.copy(), velocity.bias.copy()) for velocity in replica.velocities]
    expected = ImportancePruner(mode, 20.0).prune(replica.network)
    step = Evolution(config).step(replica, 5)
    assert step.pruning.n_connections == expected.n_connections
    for change, (weight, bias), velocity in zip(step.composed(), velocities, replica.velocities, strict=True):
        np.testing.assert_array_equal(change.carry(weight), velocity.weight)
        np.testing.assert_array_equal(change.carry_neurons(bias), velocity.bias)
    is_smaller = sum(replica.network.widths) < 12 + 24 + 18 + 3
    assert is_smaller == (mode == "compact")


def test_pruning_without_evolution_is_the_whole_change(make_config, make_dataset):
    config, dataset = make_config(*PRUNES, "evolution.every_epochs=3"), make_dataset()
    step = Evolution(config).step(make_replica(config, dataset), 5)
    assert step.composed() == list(step.pruning.layers)
    assert step.n_grown == 0


def test_replicas_with_the_same_number_evolve_alike_and_others_do_not(make_config, make_dataset):
    config, dataset = make_config("network.epsilon=3"), make_dataset()
    digests = []
    for number in (0, 0, 1):
        replica = make_replica(config, dataset)
        Evolution(config, number).step(replica, 2)
        digests.append(network_digest(replica.network))
    assert digests[0] == digests[1] != digests[2]
