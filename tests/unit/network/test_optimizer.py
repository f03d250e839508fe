"""Learning rates by epoch, and what happens to velocities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpc_sparse.network.optimizer import LearningRate, Velocity
from hpc_sparse.network.topology import Topology, TopologyChange


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
