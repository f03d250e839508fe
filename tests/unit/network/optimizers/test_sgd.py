"""Learning rates by epoch, and what happens to velocities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.optimizers.sgd import LearningRate, Velocity


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
    velocity = Velocity(np.array([1, 2, 3], np.float32), np.array([4, 5], np.float32))
    topology = Topology.from_keys((2, 3), np.array([0, 1, 5]))
    velocity.carry(TopologyChange(topology, np.array([0, -1, 2])))
    assert velocity.weight.tolist() == [1, 0, 3]
    assert velocity.bias.tolist() == [4, 5]
    velocity.reset()
    assert not velocity.weight.any()
    assert not velocity.bias.any()


def test_a_new_velocity_is_at_rest():
    velocity = Velocity.zeros(3, 2)
    assert (velocity.weight.tolist(), velocity.bias.tolist()) == ([0] * 3, [0] * 2)
    assert velocity.weight.dtype == velocity.bias.dtype == np.float32


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
    velocity = Velocity(np.array([1, 2], np.float32), np.array([-4], np.float32))
    weight = velocity.weight
    velocity.scale(0.5)
    assert (velocity.weight.tolist(), velocity.bias.tolist()) == ([0.5, 1], [-2])
    assert velocity.weight is weight
    assert weight.dtype == np.float32


def test_velocities_follow_neurons_that_are_removed():
    velocity = Velocity(np.array([1, 2, 3], np.float32), np.array([4, 5, 6], np.float32))
    topology = Topology.from_keys((2, 3), np.array([0, 5]))
    velocity.carry(TopologyChange(topology, np.array([0, 2]), np.array([0, 2])))
    assert (velocity.weight.tolist(), velocity.bias.tolist()) == ([1, 3], [4, 6])
