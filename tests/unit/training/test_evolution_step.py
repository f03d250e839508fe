"""What happens to a network before an epoch, and when."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.errors import ConfigError
from hpc_sparse.evolution.importance import ImportancePruner
from hpc_sparse.evolution.schedule import TimeInRun
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.network import Place
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.training.evolution_step import Evolution, Mode, make_schedule
from hpc_sparse.training.growth_pool import GrowthSource
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.replica_states import (
    initial_replica,
)
from hpc_sparse.training.target_size import initial_size

CTX = ParallelContext.serial(threads=1)

AUTO = ("evolution.drop_fraction=auto", "evolution.drop_schedule=auto")

PRUNES = (
    "importance_pruning.mode=compact",
    "importance_pruning.after_epoch=2",
    "importance_pruning.every_epochs=2",
    "importance_pruning.fold_means=false",
)


def make_replica(config, dataset):
    """With velocities that tell what became of them."""
    replica = initial_replica(config, dataset.info)
    rng = np.random.default_rng(5)
    for layer, state in zip(replica.network.layers, replica.states, strict=True):
        layer.bias = rng.standard_normal(layer.bias.size).astype(np.float32)
        state["velocity"]["weight"] = 1 + rng.random(layer.weight.size).astype(np.float32)
        state["velocity"]["bias"] = 1 + rng.random(layer.bias.size).astype(np.float32)
    return replica


def history(config, dataset, n_epochs=9, mode=Mode.SHARED):
    """For each epoch whether the network was pruned and whether it evolved before it."""
    replica, evolution, found = make_replica(config, dataset), Evolution(config, mode=mode), []
    for epoch in range(1, n_epochs + 1):
        step = evolution.step(replica, epoch)
        replica.check_invariants()
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
    assert not any(each for each, _ in history(make_config(*PRUNES), make_dataset(), mode=Mode.FIXED_SIZES))
    assert not any(each for each, _ in history(make_config(), make_dataset()))


def test_what_is_kept_keeps_weight_and_velocity_and_what_is_grown_gets_a_weight_and_rests(make_config, make_dataset):
    config, dataset = make_config("network.epsilon=3"), make_dataset()
    replica = make_replica(config, dataset)
    before = [
        dict(
            zip(
                layer.topology.keys().tolist(), zip(layer.weight, state["velocity"]["weight"], strict=True), strict=True
            )
        )
        for layer, state in zip(replica.network.layers, replica.states, strict=True)
    ]
    step = Evolution(config).step(replica, 2)
    assert step.pruning is None
    assert list(step.growth) == [Place(0, "input"), Place(1, "input")]
    assert step.composed()[-1] == {}
    n_grown = 0
    for layer, state, old in zip(replica.network.layers, replica.states, before, strict=True):
        speeds = state["velocity"]["weight"]
        for key, weight, speed in zip(layer.topology.keys().tolist(), layer.weight, speeds, strict=True):
            n_grown += speed == 0
            assert weight != 0
            assert speed == 0 or (weight, speed) == old[key]
    assert n_grown == step.n_grown
    n_first = replica.network.layers[0].weight.size
    assert 0 < np.count_nonzero(replica.states[0]["velocity"]["weight"] == 0) <= 0.3 * n_first


@pytest.mark.parametrize("mode", ["compact", "released"])
def test_a_composed_change_carries_what_was_there_before_to_where_it_is_now(make_config, make_dataset, mode):
    config, dataset = make_config(*PRUNES, f"importance_pruning.mode={mode}", "network.epsilon=3"), make_dataset()
    replica = make_replica(config, dataset)
    before = [state.copy() for state in replica.states]
    expected = ImportancePruner(mode, 20.0).prune(replica.network)
    step = Evolution(config).step(replica, 5)
    assert step.pruning.n_connections == expected.n_connections
    for changes, old, state in zip(step.composed(), before, replica.states, strict=True):
        assert list(changes) == ["input"]
        np.testing.assert_array_equal(changes["input"].carry(old["velocity"]["weight"]), state["velocity"]["weight"])
        np.testing.assert_array_equal(
            changes["input"].carry_neurons(old["velocity"]["bias"]), state["velocity"]["bias"]
        )
    is_smaller = sum(replica.network.widths) < 12 + 24 + 18 + 3
    assert is_smaller == (mode == "compact")


def test_pruning_without_evolution_is_the_whole_change(make_config, make_dataset):
    config, dataset = make_config(*PRUNES, "evolution.every_epochs=3"), make_dataset()
    step = Evolution(config).step(make_replica(config, dataset), 5)
    assert step.composed() == [{"input": change} for change in step.pruning.layers]
    assert step.n_grown == 0


@pytest.mark.parametrize("initializer", ["he_uniform", "xavier_uniform"])
def test_what_grows_after_pruning_is_as_large_as_what_a_new_network_has(make_config, make_dataset, initializer):
    names = (
        "importance_pruning.percentile=80",
        "importance_pruning.input_percentile=60",
        "evolution.drop_fraction=0.5",
    )
    config, dataset = make_config(*PRUNES, *names, f"network.initializer={initializer}"), make_dataset()
    replica, widths = make_replica(config, dataset), [12, 24, 18, 3]
    evolution = Evolution(config, n_inputs=12)
    for epoch in range(5, 12):
        step = evolution.step(replica, epoch)
        if step.n_grown == 0:
            continue
        for place, change in step.growth.items():
            n_in, n_out = widths[place.layer : place.layer + 2]
            bound = np.sqrt(6 / (n_in if initializer == "he_uniform" else n_in + n_out))
            grown = np.abs(replica.network.at(place).weight[change.old_position < 0])
            assert (grown <= bound * 1.0001).all()
    assert replica.network.widths[0] < 6
    assert replica.network.widths[1] < 12


def test_pruning_leaves_the_mean_of_what_neurons_said_to_those_above(make_config, make_dataset):
    folds = (*PRUNES, "importance_pruning.fold_means=true", "evolution.strategy=static")
    config, dataset = make_config(*folds, "network.epsilon=3", "evolution.growth_samples=60"), make_dataset()
    biases = {}
    for pruning in (True, False):
        own = make_config(*folds, f"importance_pruning.fold_means={str(pruning).lower()}", "network.epsilon=3")
        replica = make_replica(own, dataset)
        growth = GrowthSource.start(TrainingJob(CTX, config, dataset, replica, SilentReporter()), CrossEntropy())
        assert Evolution(own, growth=growth).step(replica, 5).pruning is not None
        biases[pruning] = [layer.bias for layer in replica.network.layers]
    assert [np.array_equal(*pair) for pair in zip(biases[True], biases[False], strict=True)] == [True, False, False]


def test_the_signs_of_deep_r_begin_with_the_weights_and_follow_every_change(make_config, make_dataset):
    folds = (*PRUNES, "evolution.strategy=deep_r", "evolution.deep_r.noise=0.1", "network.epsilon=3")
    config, dataset = make_config(*folds), make_dataset()
    replica, evolution = make_replica(config, dataset), Evolution(config)
    assert evolution.step(replica, 1) is None
    for layer, state in zip(replica.network.layers[:-1], replica.states[:-1], strict=True):
        np.testing.assert_array_equal(state["sign"]["weight"], np.where(layer.weight < 0, -1, 1))
    n_changed = 0
    for epoch in range(2, 8):
        step = evolution.step(replica, epoch)
        n_changed += step.n_grown
        replica.check_invariants()
        for layer, state in zip(replica.network.layers[:-1], replica.states[:-1], strict=True):
            np.testing.assert_array_equal(state["sign"]["weight"], np.sign(layer.weight))
    assert n_changed > 0


def test_replicas_with_the_same_number_evolve_alike_and_others_do_not(make_config, make_dataset):
    config, dataset = make_config("network.epsilon=3"), make_dataset()
    digests = []
    for number in (0, 0, 1):
        replica = make_replica(config, dataset)
        Evolution(config, number).step(replica, 2)
        digests.append(network_digest(replica.network))
    assert digests[0] == digests[1] != digests[2]


def test_evolution_may_come_every_so_many_steps_within_an_epoch_and_before_one(make_config, make_dataset):
    config, dataset = make_config("evolution.every_steps=5", "network.epsilon=3"), make_dataset()
    evolution = Evolution(config, n_steps=10)
    assert [step for step in range(11) if evolution.is_due_within(1, step)] == [5]
    assert evolution.step(make_replica(config, dataset), 1) is None
    assert evolution.step_within(make_replica(config, dataset), 1, 4) is None
    digests = []
    for change in (
        lambda replica: evolution.step(replica, 2),
        lambda replica: evolution.step_within(replica, 2, 5),
        lambda replica: evolution.step_within(replica, 1, 5),
    ):
        replica = make_replica(config, dataset)
        assert change(replica).n_grown > 0
        replica.check_invariants()
        digests.append(network_digest(replica.network))
    assert len(set(digests)) == 3


@pytest.mark.parametrize("strategy", ["set", "rigl", "srigl", "gse", "snfs", "deep_r", "top_kast", "cht"])
def test_a_network_shrinks_to_its_final_density_layer_by_layer_alike(make_config, make_dataset, strategy):
    acting = ("evolution.top_kast.acting_share=0.5",) if strategy == "top_kast" else ()
    config = make_config("evolution.final_density=0.05", f"evolution.strategy={strategy}", *acting)
    dataset = make_dataset()
    replica = make_replica(config, dataset)
    growth = GrowthSource.start(TrainingJob(CTX, config, dataset, replica, SilentReporter()), CrossEntropy())
    evolution = Evolution(config, growth=growth)
    before = [layer.topology.n_connections for layer in replica.network.layers]
    sizes = []
    for epoch in range(2, 6):
        evolution.step(replica, epoch)
        replica.check_invariants()
        sizes.append([layer.topology.n_connections for layer in replica.network.layers])
    assert [one < other for one, other in zip(sizes[0][:-1], before[:-1], strict=True)] == [True, True]
    assert sizes[-1][-1] == before[-1]
    assert sum(sizes[-1][:-1]) == pytest.approx(0.05 * (12 * 24 + 24 * 18), abs=1)
    if strategy != "snfs":
        assert sizes[-1][0] / before[0] == pytest.approx(sizes[-1][1] / before[1], rel=0.2)
    alone = make_replica(config, dataset)
    Evolution(config, growth=growth, mode=Mode.FIXED_SIZES).step(alone, 5)
    assert [layer.topology.n_connections for layer in alone.network.layers] == before


@pytest.mark.parametrize("every", ["evolution.every_epochs=1", "evolution.every_steps=3"])
@pytest.mark.parametrize("end", [(), ("evolution.end_epoch=9",)])
def test_a_network_has_its_final_density_when_its_workers_are_left_alone(make_config, make_dataset, every, end):
    config, dataset = make_config("evolution.final_density=0.05", "training.epochs=10", every, *end), make_dataset()
    replica = make_replica(config, dataset)
    evolution = Evolution(config, n_steps=7, shrinks_until=7)
    for epoch in range(1, 8):
        evolution.step(replica, epoch)
        for step in range(1, 7):
            evolution.step_within(replica, epoch, step)
    sizes = [layer.topology.n_connections for layer in replica.network.layers[:-1]]
    assert sum(sizes) == pytest.approx(0.05 * (12 * 24 + 24 * 18), abs=1)


def test_changes_may_come_as_seldom_by_steps_as_on_one_rank(make_config, make_dataset):
    """A rank with 3 steps of the 24 that an epoch has on one."""
    config, dataset = make_config("evolution.every_steps=auto", "training.epochs=20"), make_dataset()
    evolution, replica = Evolution(config, n_steps=3, n_steps_alone=24), make_replica(config, dataset)
    assert [epoch for epoch in range(1, 21) if evolution.step(replica, epoch) is not None] == [9, 17]
    assert not any(evolution.is_due_within(epoch, step) for epoch in range(1, 21) for step in range(3))


@pytest.mark.parametrize(
    ("strategy", "fractions"),
    [
        ("set", {1: 0.3, 99: 0.3}),
        ("rigl", {1: 0.29987, 37: 0.1531, 75: 0.0, 76: None}),
        ("srigl", {1: 0.29987, 75: 0.0, 76: None}),
        ("gse", {1: 0.2998, 30: 0.15, 60: 0.0, 61: None}),
        ("snfs", {1: 0.49988, 50: 0.2525, 99: 0.00512}),
    ],
)
def test_by_default_as_much_is_replaced_as_the_authors_of_a_strategy_do(make_config, strategy, fractions):
    schedule = make_schedule(make_config(f"evolution.strategy={strategy}", "training.epochs=100", *AUTO), 1)
    for epoch, expected in fractions.items():
        time = TimeInRun(epoch)
        assert schedule.is_due(time) == (expected is not None)
        if expected is not None:
            assert schedule.drop_fraction_at(time) == pytest.approx(expected, abs=1e-4)


def test_what_is_set_holds_whatever_the_authors_do(make_config):
    names = ("evolution.strategy=rigl", "evolution.drop_schedule=linear", "evolution.drop_fraction=0.4")
    schedule = make_schedule(make_config(*names, "training.epochs=100"), 1)
    assert (schedule.end, schedule.drop_fraction_at(TimeInRun(50))) == (None, pytest.approx(0.2))
    early = make_schedule(make_config("evolution.strategy=rigl", "evolution.end_epoch=7", *AUTO), 1)
    assert early.end == 7


def test_a_density_that_is_none_to_shrink_to_is_refused(make_config):
    config = make_config("evolution.final_density=0.9")
    with pytest.raises(ConfigError, match=r"final_density = 0.9: must be below .* begin with, 0\.\d+"):
        initial_size(config, [12, 24, 18, 3])


@pytest.mark.parametrize(
    ("strategy", "choice", "is_drawn"),
    [
        ("set", "strategy", True),
        ("rigl", "strategy", False),
        ("gse", "strategy", False),
        ("set", "zero", False),
        ("cht", "strategy", False),
        ("cht", "initial", True),
        ("rigl", "initial", True),
    ],
)
def test_grown_weights_are_drawn_or_zero_as_strategy_or_user_says(
    make_config, make_dataset, strategy, choice, is_drawn
):
    names = (f"evolution.strategy={strategy}", f"evolution.grown_weights={choice}", "network.epsilon=3")
    config, dataset = make_config(*names), make_dataset()
    replica = make_replica(config, dataset)
    growth = GrowthSource.start(TrainingJob(CTX, config, dataset, replica, SilentReporter()), CrossEntropy())
    step = Evolution(config, growth=growth).step(replica, 2)
    change = step.growth[Place(0, "input")]
    grown = replica.network.layers[0].weight[change.old_position < 0]
    assert grown.size
    assert (grown != 0).all() == is_drawn
    assert grown.any() == is_drawn
    assert not replica.states[0]["velocity"]["weight"][change.old_position < 0].any()
