"""Learning rates by strategy, phase and number of replicas."""

from __future__ import annotations

import pytest

from hpc_sparse.training.rates import learning_rate, learning_rate_alone


@pytest.mark.parametrize(("scaling", "expected"), [("none", 0.05), ("sqrt", 0.1), ("linear", 0.2)])
@pytest.mark.parametrize("strategy", ["local_sgd", "wasap", "wassp"])
def test_the_learning_rate_is_scaled_by_the_replicas(make_config, strategy, scaling, expected):
    config = make_config(f"parallel.learning_rate_scaling={scaling}", f"parallel.algorithm={strategy}")
    assert learning_rate(config, 4).at(1) == pytest.approx(expected)
    assert learning_rate(config, 1).at(1) == 0.05


@pytest.mark.parametrize(("strategy", "expected"), [("local_sgd", 0.2), ("wassp", 0.2), ("wasap", 0.05)])
def test_by_default_replicas_that_share_a_step_scale_it_and_those_that_take_turns_do_not(
    make_config, strategy, expected
):
    rate = learning_rate(make_config(f"parallel.algorithm={strategy}", "training.epochs=50"), 4)
    assert rate.at(6) == rate.at(50) == pytest.approx(expected)


@pytest.mark.parametrize("strategy", ["local_sgd", "wassp"])
@pytest.mark.parametrize("n_epochs", [500, 9])
def test_many_ranks_begin_at_the_rate_of_one_and_stay_below_the_cap(make_config, strategy, n_epochs):
    config = make_config(f"parallel.algorithm={strategy}", f"training.epochs={n_epochs}")
    rate = learning_rate(config, 32)
    rates = [rate.at(epoch) for epoch in range(1, n_epochs + 1)]
    assert rates[0] == pytest.approx(0.05)
    assert rates == sorted(rates)
    assert rates[5] == rates[-1] == pytest.approx(8 * 0.05)
    assert rates[4] < rates[-1]


def test_the_cap_is_the_users_and_only_for_auto(make_config):
    def last(*names):
        return learning_rate(make_config(*names, "training.epochs=50"), 32).at(50)

    assert last("parallel.learning_rate_cap=16") == pytest.approx(16 * 0.05)
    assert last("parallel.learning_rate_scaling=linear") == pytest.approx(32 * 0.05)


def test_one_replica_has_no_warm_up_unless_it_is_asked_for(make_config):
    assert learning_rate(make_config(), 1).at(1) == 0.05
    assert learning_rate(make_config("parallel.algorithm=wasap"), 32).at(1) == 0.05
    assert learning_rate(make_config("optimizer.warmup_epochs=1"), 1).at(1) == pytest.approx(0.025)


def test_every_setting_reaches_the_schedule(make_config):
    config = make_config(
        *("optimizer.schedule=step", "optimizer.step_epochs=2", "optimizer.step_factor=0.5", "training.epochs=7"),
        *("optimizer.warmup_epochs=2", "optimizer.warmup_from=unscaled", "parallel.learning_rate_scaling=linear"),
    )
    rate = learning_rate(config, 3)
    # From 0.05 to 3 times as much in two epochs, and half of it after each two.
    assert [rate.at(epoch) for epoch in range(1, 6)] == pytest.approx([0.05, 0.1, 0.075, 0.075, 0.0375])
    assert rate.n_epochs == 7


def test_workers_alone_have_the_schedule_without_scaling_or_a_rate_of_their_own(make_config):
    scheduled = make_config("parallel.algorithm=wassp", "optimizer.schedule=step", "optimizer.step_epochs=2")
    assert [learning_rate_alone(scheduled).at(epoch) for epoch in (2, 3)] == pytest.approx([0.05, 0.045])
    own = make_config("parallel.phase2_learning_rate=0.3", "optimizer.schedule=step", "optimizer.warmup_epochs=3")
    assert [learning_rate_alone(own).at(epoch) for epoch in (1, 3, 4)] == [0.3] * 3
