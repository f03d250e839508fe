"""When a topology changes and how much of it."""

from __future__ import annotations

import pytest

from hpc_sparse.evolution.schedule import EvolutionSchedule, TimeInRun, shrunk_sizes


def schedule(**options):
    return EvolutionSchedule(**{"n_epochs": 10, "begin": 0, "end": None, "drop_fraction": 0.4, **options})


def due_steps(plan, n_steps=7, n_epochs=12):
    """All occasions, as steps since the start."""
    times = [TimeInRun(epoch, step, n_steps) for epoch in range(n_epochs) for step in range(n_steps)]
    return [time.total_steps for time in times if plan.is_due(time)]


def test_changes_come_every_so_many_epochs_from_the_first_on():
    assert due_steps(schedule()) == [7 * n for n in range(1, 12)]
    assert due_steps(schedule(every_epochs=3)) == [21, 42, 63]


def test_begin_and_end_bound_the_changes_and_belong_to_them():
    assert due_steps(schedule(begin=3, end=6)) == [21, 28, 35, 42]
    assert due_steps(schedule(begin=3, end=6, every_epochs=4)) == [28]


def test_changes_may_come_every_so_many_steps_of_the_whole_run():
    assert due_steps(schedule(every_steps=5, end=3)) == [5, 10, 15, 20]
    assert due_steps(schedule(every_steps=7, end=3)) == [7, 14, 21]
    assert due_steps(schedule(every_steps=10, begin=1, end=3)) == [10, 20]


@pytest.mark.parametrize(
    ("name", "middle", "is_zero_at_end"),
    [("constant", 0.4, False), ("cosine", 0.2, True), ("linear", 0.2, True), ("exponential", 0.05, True)],
)
def test_the_drop_fraction_falls_from_begin_to_end(name, middle, is_zero_at_end):
    plan = schedule(drop_schedule=name, begin=2, end=8)
    fractions = [plan.drop_fraction_at(TimeInRun(epoch)) for epoch in (1, 2, 5, 8, 9)]
    assert fractions[:2] == [0.4, 0.4]
    assert fractions[2] == pytest.approx(middle)
    assert (fractions[3] == pytest.approx(0)) == is_zero_at_end
    assert fractions[3] == fractions[4]


def test_without_an_end_the_fraction_falls_to_the_end_of_the_run():
    assert schedule(drop_schedule="linear").drop_fraction_at(TimeInRun(5)) == pytest.approx(0.2)
    assert schedule(drop_schedule="linear").drop_fraction_at(TimeInRun(4, 3, 6)) == pytest.approx(0.22)


def test_connections_become_fewer_with_the_third_power_of_the_time_left():
    plan = schedule(begin=2, end=6)
    shares = [plan.remaining_at(TimeInRun(epoch), 0.2) for epoch in (0, 2, 4, 6, 7)]
    assert shares == pytest.approx([1, 1, 0.2 + 0.8 / 8, 0.2, 0.2])


def test_connections_become_fewer_by_a_sigmoid_slowly_at_both_ends():
    plan = schedule(begin=2, end=6, density_schedule="sigmoid")
    shares = [plan.remaining_at(TimeInRun(epoch), 0.2) for epoch in (0, 2, 3, 4, 5, 6, 7)]
    assert shares[:2] == [1, 1]
    assert shares[3] == pytest.approx(0.6)
    assert 0.95 < shares[2] < 1
    assert shares[2] + shares[4] == pytest.approx(1.2)
    assert shares[-2:] == pytest.approx([0.2, 0.2])


def test_a_fraction_may_fall_to_something_above_zero():
    plan = schedule(drop_schedule="cosine", least=0.1)
    assert [plan.drop_fraction_at(TimeInRun(epoch)) for epoch in (0, 5, 10)] == pytest.approx([0.4, 0.25, 0.1])


def test_sizes_may_end_before_the_changes_do():
    plan = schedule(end=9).ending_by(4)
    assert (plan.n_epochs, plan.end) == (4, 4)
    assert plan.remaining_at(TimeInRun(3), 0.2) == pytest.approx(0.2)
    assert schedule().ending_by(20) == schedule()


@pytest.mark.parametrize(
    ("options", "last"),
    [
        ({}, TimeInRun(9, 0, 7)),
        ({"every_epochs": 4}, TimeInRun(8, 0, 7)),
        ({"end": 5, "every_epochs": 2}, TimeInRun(4, 0, 7)),
        ({"every_steps": 10, "end": 2}, TimeInRun(1, 3, 7)),
        ({"every_steps": 10}, TimeInRun(8, 4, 7)),
    ],
)
def test_the_last_change_leaves_what_is_to_be_left(options, last):
    plan = schedule(**options)
    assert plan.is_due(last)
    shares = [plan.remaining_at(TimeInRun(total // 7, total % 7, 7), 0.2) for total in due_steps(plan, n_epochs=10)]
    assert shares[-1] == 0.2
    assert all(share > 0.2 for share in shares[:-1])


def test_layers_shrink_in_proportion_but_never_grow_or_vanish():
    assert shrunk_sizes([100, 60, 3, 0], 82) == [50, 30, 2, 0]
    assert shrunk_sizes([100, 1], 2) == [1, 1]
    assert shrunk_sizes([100, 50], 300) == [100, 50]
    assert shrunk_sizes([], 5) == []
