"""How fast a run gets on, and how long it will take."""

from __future__ import annotations

import math

import pytest

from hpc_sparse.monitor import throughput as module
from hpc_sparse.monitor.throughput import Throughput, shown_duration, shown_rate


@pytest.fixture
def make_throughput(monkeypatch):
    """Make a throughput that begins at second 0."""
    monkeypatch.setattr(module.time, "monotonic", lambda: 0.0)
    return Throughput


def test_steps_are_counted_per_epoch_and_for_the_whole_run(make_throughput):
    throughput = make_throughput(3, 5, 4, 40)
    assert (throughput.epoch, throughput.step, throughput.n_done, throughput.n_total) == (3, 0, 0, 12)
    for number, step in enumerate([1, 2, 3, 4, 1, 2, 3, 4, 1], 1):
        throughput.advance(step, float(number))
        assert throughput.n_done == number
    assert (throughput.epoch, throughput.step) == (5, 1)


def test_epochs_of_one_step_are_told_apart(make_throughput):
    throughput = make_throughput(1, 3, 1, 10)
    for second in (1.0, 2.0, 3.0):
        throughput.advance(1, second)
    assert (throughput.epoch, throughput.n_done) == (3, 3)
    assert throughput.seconds_left(3.0) == 0


def test_the_speed_is_of_this_epoch_and_leaves_out_what_came_before_its_first_step(make_throughput):
    throughput = make_throughput(1, 2, 4, 40)
    assert math.isnan(throughput.steps_per_second(0.5))
    assert math.isnan(throughput.seconds_left(0.5))
    for step, second in ((1, 10.0), (2, 10.5), (3, 11.0), (4, 11.5)):
        throughput.advance(step, second)
    assert throughput.steps_per_second(11.5) == 2
    assert throughput.samples_per_second(11.5) == 20
    throughput.advance(1, 20.0)
    assert throughput.steps_per_second(20.0) == 2  # until there is something new
    throughput.advance(2, 21.0)
    assert throughput.steps_per_second(21.0) == 1


def test_the_time_left_is_that_of_whole_epochs_with_all_that_is_in_them(make_throughput):
    throughput = make_throughput(1, 101, 2, 20)
    for epoch in range(1, 21):
        slow = 100.0 if epoch < 5 else 0.0
        throughput.advance(1, 100.0 * epoch + slow)
        throughput.advance(2, 100.0 * epoch + 50 + slow)
    # 162 steps are left; the last ten epochs took 50 seconds a step.
    assert throughput.seconds_left(2050.0) == pytest.approx(162 * 50, rel=0.06)


def test_a_run_that_goes_on_within_an_epoch_is_as_far_as_it_is(make_throughput):
    throughput = make_throughput(2, 2, 100, 1000)
    throughput.advance(51, 10.0)
    throughput.advance(52, 11.0)
    assert throughput.n_done == 52
    assert throughput.steps_per_second(11.0) == 1
    assert throughput.seconds_left(11.0) == 48


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (math.nan, "- steps/s"),
        (0.25, "0.25 steps/s"),
        (2.0, "2.0 steps/s"),
        (312.4, "312 steps/s"),
        (9870.2, "9,870 steps/s"),
        (48_630.0, "48.6k steps/s"),
        (1_250_000.0, "1.2M steps/s"),
    ],
)
def test_rates_are_short(rate, text):
    assert shown_rate(rate, "steps") == text


def test_durations_are_rounded_up_to_seconds():
    assert shown_duration(251.2) == "0:04:12"
    assert shown_duration(math.nan) == "-"
