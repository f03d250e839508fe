"""Learning rates by epoch, and what happens to velocities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpc_sparse.errors import ConfigError
from hpc_sparse.network.bfloat16 import narrowed, widened
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.optimizers.learning_rate import LearningRate
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.optimizers.state import OptimizerState, carried, type_names
from hpc_sparse.network.parameter import Parameter


def parameters_of(n_weights, n_biases):
    """What a layer says of parameters of these sizes."""
    return {
        "weight": Parameter(np.ones(n_weights, np.float32), "input", True),
        "bias": Parameter(np.ones(n_biases, np.float32), None, False),
    }


def make_state(weight, bias):
    return OptimizerState({"velocity": {"weight": np.array(weight, np.float32), "bias": np.array(bias, np.float32)}})


def as_lists(state):
    return (state["velocity"]["weight"].tolist(), state["velocity"]["bias"].tolist())


def test_a_constant_rate_stays():
    assert [LearningRate(0.1, "constant", 10).at(epoch) for epoch in (1, 5, 10)] == [0.1] * 3


def test_a_stepped_rate_falls_every_so_many_epochs():
    rate = LearningRate(0.1, "step", 10, step_epochs=3, step_factor=0.5)
    expected = [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125]
    assert [rate.at(epoch) for epoch in range(1, 11)] == pytest.approx(expected)


def test_a_cosine_falls_from_the_base_towards_zero():
    rate = LearningRate(0.1, "cosine", 8)
    rates = [rate.at(epoch) for epoch in range(1, 9)]
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * n / 8)) for n in range(8)])
    assert rates[0] == 0.1
    assert 0 < rates[-1] < 0.01


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_warm_up_rises_linearly_to_the_schedule(schedule):
    warm, cold = (LearningRate(0.1, schedule, 20, warmup_epochs=n) for n in (4, 0))
    shares = [warm.at(epoch) / cold.at(epoch) for epoch in range(1, 8)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])


def test_velocities_follow_a_change_and_come_to_rest():
    state = make_state([1, 2, 3], [4, 5])
    topology = Topology.from_keys((2, 3), np.array([0, 1, 5]))
    state.follow(parameters_of(3, 2), {"input": TopologyChange(topology, np.array([0, -1, 2]))})
    assert as_lists(state) == ([1, 0, 3], [4, 5])
    state.reset([])
    assert as_lists(state) == ([1, 0, 3], [4, 5])
    state.reset(["velocity"])
    assert as_lists(state) == ([0, 0, 0], [0, 0])


def test_a_new_velocity_is_at_rest():
    state = OptimizerState.at_rest(parameters_of(3, 2), {"velocity": np.float32})
    assert as_lists(state) == ([0] * 3, [0] * 2)
    assert state["velocity"]["weight"].dtype == state["velocity"]["bias"].dtype == np.float32


def test_the_scale_multiplies_the_rate_under_every_schedule():
    for schedule in ("constant", "step", "cosine"):
        plain, scaled = (LearningRate(0.1, schedule, 20, scale=scale, warmup_epochs=3) for scale in (1, 6))
        assert [scaled.at(epoch) for epoch in range(1, 9)] == pytest.approx(
            [6 * plain.at(epoch) for epoch in range(1, 9)]
        )


def test_an_unscaled_warm_up_starts_at_the_base_and_rises_to_the_scaled_rate():
    rate = LearningRate(0.01, "constant", 20, scale=4, warmup_epochs=5, warmup_from="unscaled")
    # lr ((K - 1) epoch / 5 + 1) with epochs counted from 0.
    expected = [0.01 * (3 * done / 5 + 1) for done in range(5)] + [0.04, 0.04]
    assert [rate.at(epoch) for epoch in range(1, 8)] == pytest.approx(expected)
    assert LearningRate(0.01, "constant", 20, warmup_epochs=5, warmup_from="unscaled").at(1) == 0.01


def test_changes_of_the_rate_multiply_up_to_it():
    rate = LearningRate(0.1, "step", 20, scale=3, warmup_epochs=2, step_epochs=3, step_factor=0.5)
    assert rate.change_before(1) == 1
    product = rate.at(1)
    for epoch in range(2, 12):
        product *= rate.change_before(epoch)
        assert product == pytest.approx(rate.at(epoch))
    assert rate.change_before(3) != 1
    assert rate.change_before(6) == 1


def test_a_velocity_is_scaled_as_a_whole_and_in_place():
    state = make_state([1, 2], [-4])
    weight = state["velocity"]["weight"]
    for name in ("weight", "bias"):
        Sgd(0.9).change_rate(state.of(name), 0.5)
    assert as_lists(state) == ([1, 2], [-4])
    for name in ("weight", "bias"):
        Sgd(0.9, corrects_momentum=True).change_rate(state.of(name), 0.5)
    assert as_lists(state) == ([0.5, 1], [-2])
    assert state["velocity"]["weight"] is weight
    assert weight.dtype == np.float32


def test_velocities_follow_neurons_that_are_removed():
    state = make_state([1, 2, 3], [4, 5, 6])
    topology = Topology.from_keys((2, 3), np.array([0, 5]))
    state.follow(parameters_of(3, 3), {"input": TopologyChange(topology, np.array([0, 2]), np.array([0, 2]))})
    assert as_lists(state) == ([1, 3], [4, 6])


def test_a_state_goes_to_a_checkpoint_and_comes_back():
    state = make_state([1, 2], [3])
    arrays = state.arrays()
    assert list(arrays) == ["weight_velocity", "bias_velocity"]
    assert as_lists(OptimizerState.from_arrays(parameters_of(2, 1), arrays, {"velocity": np.float32})) == ([1, 2], [3])


def test_a_state_of_other_arrays_is_refused():
    arrays = make_state([1, 2], [3]).arrays()
    with pytest.raises(
        ValueError, match=r"arrays bias_velocity, weight_velocity: expected .*weight_mean, weight_square"
    ):
        OptimizerState.from_arrays(parameters_of(2, 1), arrays, {"mean": np.float32, "square": np.float32})


def test_a_copied_state_is_apart():
    state = make_state([1, 2], [3])
    state.copy().reset(["velocity"])
    assert as_lists(state) == ([1, 2], [3])


def test_values_are_carried_over_the_changes_of_their_own_connections_only():
    values = np.array([1, 2, 3], np.float32)
    topology = Topology.from_keys((2, 3), np.array([0, 1, 5]))
    changes = {"keys": TopologyChange(topology, np.array([2, -1, 0]), np.array([0, 2]))}
    assert carried("keys", changes, values).tolist() == [3, 0, 1]
    assert carried("values", changes, values) is values
    # A value per neuron follows the neurons, whichever connections they were told by.
    assert carried(None, changes, values).tolist() == [1, 3]
    assert carried(None, {}, values) is values


def test_a_rate_that_has_come_down_to_zero_changes_nothing():
    rate = LearningRate(0.1, "step", 2000, step_epochs=1, step_factor=0.1)
    assert (rate.at(1000), rate.at(1001), rate.change_before(1001)) == (0, 0, 1)


def test_velocities_of_connections_alone_are_narrow():
    state = OptimizerState.at_rest(parameters_of(3, 2), {"velocity": np.uint16})
    assert (state["velocity"]["weight"].dtype, state["velocity"]["bias"].dtype) == (np.uint16, np.float32)
    again = state.at_rest_again(parameters_of(5, 2))
    assert (again["velocity"]["weight"].dtype, again["velocity"]["weight"].size) == (np.uint16, 5)
    assert type_names(state.arrays()) == {"weight_velocity": "bfloat16", "bias_velocity": "float32"}


def test_narrow_velocities_follow_a_change_as_they_are():
    state = OptimizerState({"velocity": {"weight": np.array([1, 2, 3], np.uint16), "bias": np.ones(2, np.float32)}})
    topology = Topology.from_keys((2, 3), np.array([0, 1, 5]))
    state.follow(parameters_of(3, 2), {"input": TopologyChange(topology, np.array([2, -1, 0]))})
    assert as_lists(state) == ([3, 0, 1], [1, 1])
    assert state["velocity"]["weight"].dtype == np.uint16


def test_a_stored_state_is_brought_to_the_type_that_is_wanted():
    arrays = make_state([1 + 2**-8, -3], [1 + 2**-8]).arrays()
    narrow = OptimizerState.from_arrays(parameters_of(2, 1), arrays, {"velocity": np.uint16})
    assert widened(narrow["velocity"]["weight"]).tolist() == [1, -3]
    assert narrow["velocity"]["bias"].tolist() == [1 + 2**-8]
    wide = OptimizerState.from_arrays(parameters_of(2, 1), narrow.arrays(), {"velocity": np.float32})
    assert as_lists(wide) == ([1, -3], [1 + 2**-8])


def test_a_narrow_velocity_is_scaled_in_place():
    values = narrowed(np.array([1, -2, 3], np.float32))
    Sgd(0.9, corrects_momentum=True, velocity="bfloat16").change_rate({"velocity": values}, 0.5)
    assert widened(values).tolist() == [0.5, -1, 1.5]


def test_random_numbers_are_for_a_purpose_and_float32_needs_none():
    plain, narrow = Sgd(0.9), Sgd(0.9, velocity="bfloat16")
    assert plain.drawing_for(1, "weight") is plain
    assert narrow.drawing_for(1, "weight") == narrow.drawing_for(1).drawing_for("weight")
    assert len({int(narrow.drawing_for(*each).key) for each in ((1, 2), (2, 1), (1, "weight"), (1, "bias"), (1,))}) == 5


@pytest.mark.parametrize(
    ("settings", "other"),
    [
        (("parallel.algorithm=wasap",), 'parallel.algorithm = "wasap", whose server steps in float32'),
        (("parallel.overlap=true", "parallel.sync_every_steps=3"), "parallel.overlap = true"),
    ],
)
def test_whoever_changes_velocities_in_float32_is_refused(make_config, settings, other):
    with pytest.raises(ConfigError, match=f'optimizer.velocity = "bfloat16": not with {other}'):
        make_config("optimizer.velocity=bfloat16", *settings)
