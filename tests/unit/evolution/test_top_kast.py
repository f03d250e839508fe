"""Top-KAST: the reserve rotates, what acts stays, and both give way to the exploration loss."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_sparse.evolution.strategies import TopKastUpdater


def make_halved(make_view, **options):
    """A layer half of whose connections act."""
    return dataclasses.replace(make_view(**options), acting_share=0.5)


@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
def test_the_smallest_of_the_reserve_make_room_and_nothing_that_acts_goes(make_view, make_network, density):
    view = make_halved(make_view, density=density)
    n = view.weight.size
    (update,) = TopKastUpdater().update(make_network(view, drop_fraction=0.4))
    update.change.topology.check()
    n_replaced = int(0.4 * (n - round(0.5 * n)))
    smallest_first = np.argsort(np.abs(view.weight), kind="stable")
    kept = np.sort(update.change.old_position[update.change.old_position >= 0])
    np.testing.assert_array_equal(kept, np.sort(smallest_first[n_replaced:]))
    assert update.change.topology.n_connections == n
    assert not update.weight[update.change.old_position < 0].any()
    np.testing.assert_array_equal(update.weight, update.change.carry(view.weight))


def test_the_exploration_loss_weighs_more_on_the_reserve(make_view, make_network):
    view = make_halved(make_view)
    n = view.weight.size
    (update,) = TopKastUpdater(0.01).update(make_network(view))
    remaining = np.ones(n)
    order = np.argsort(np.abs(view.weight), kind="stable")
    n_acts = round(0.5 * n)
    remaining[order[n - n_acts :]] -= 0.01
    remaining[order[: n - n_acts]] -= 0.01 * 37 * 53 / n_acts
    kept = update.change.old_position[update.change.old_position >= 0]
    expected = (view.weight * remaining)[kept]
    np.testing.assert_allclose(update.weight[update.change.old_position >= 0], expected, rtol=1e-6)


def test_no_loss_is_more_than_the_weight(make_view, make_network):
    (update,) = TopKastUpdater(0.9).update(make_network(make_halved(make_view)))
    assert np.count_nonzero(update.weight) <= np.count_nonzero(update.change.old_position >= 0)
    view = make_halved(make_view)
    kept = update.change.old_position >= 0
    assert (np.abs(update.weight[kept]) <= np.abs(view.weight[update.change.old_position[kept]])).all()
    assert (update.weight[kept] * view.weight[update.change.old_position[kept]] >= 0).all()


def test_a_layer_shrinks_by_its_smallest_weights(make_view, make_network):
    view = make_halved(make_view, n_target=100)
    (update,) = TopKastUpdater().update(make_network(view, drop_fraction=0.0))
    largest = np.sort(np.argsort(np.abs(view.weight), kind="stable")[-100:])
    np.testing.assert_array_equal(update.change.old_position, largest)
