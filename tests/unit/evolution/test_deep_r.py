"""DEEP R: who becomes dormant, who wakes up, and with which sign."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_sparse.evolution.strategies import DeepRUpdater
from hpc_sparse.evolution.strategies.deep_r import SIGN
from hpc_sparse.network.connections.initial_weights import draw_weights


def signed(view, share_wrong=0.0, seed=3):
    """The layer with weights of the right sign, but for a share of them."""

    def initial(topology):
        return draw_weights("he_uniform", topology, np.uint64(11))

    sign = np.sign(initial(view.topology))
    is_wrong = np.random.default_rng(seed).random(sign.size) < share_wrong
    weight = np.where(is_wrong, -sign, sign) * (0.01 + np.abs(view.weight))
    remembered = {SIGN: sign.astype(np.float32)}
    weight = weight.astype(np.float32)
    return dataclasses.replace(view, weight=weight, initial_weight=initial, remembered=remembered), is_wrong


@pytest.mark.parametrize("density", [0.1, 0.6, 1.0])
def test_connections_on_the_wrong_side_of_zero_go_and_as_many_come(make_view, make_network, density):
    view, is_wrong = signed(make_view(density=density), 0.2)
    (update,) = DeepRUpdater(0.0, 0.0).update(make_network(view))
    change = update.change
    change.topology.check()
    assert change.topology.n_connections == view.weight.size
    kept = change.old_position[change.old_position >= 0]
    np.testing.assert_array_equal(kept, np.flatnonzero(~is_wrong))
    np.testing.assert_array_equal(update.weight[change.old_position >= 0], view.weight[kept])
    assert change.n_grown == is_wrong.sum() > 0


def test_grown_connections_have_the_sign_of_their_pair_and_next_to_no_weight(make_view, make_network):
    view, _ = signed(make_view(), 0.3)
    (update,) = DeepRUpdater(0.0, 0.0).update(make_network(view))
    grown = update.weight[update.change.old_position < 0]
    expected = view.initial_weight(update.change.topology)[update.change.old_position < 0]
    np.testing.assert_array_equal(np.sign(grown), np.sign(expected))
    assert (np.abs(grown) < 1e-10).all()


@pytest.mark.parametrize("states", ["none", "at rest"])
def test_a_network_from_elsewhere_loses_no_connection_for_its_signs(make_view, make_network, states):
    """Half of its signs are not those of its pairs of neurons in a new network."""
    view, is_wrong = signed(make_view(), 0.5)
    nothing = {} if states == "none" else {SIGN: np.zeros_like(view.weight)}
    view = dataclasses.replace(view, remembered=nothing)
    assert 0.4 < is_wrong.mean() < 0.6
    (update,) = DeepRUpdater(0.0, 0.0).update(make_network(view))
    assert update.change.n_grown == 0
    np.testing.assert_array_equal(update.weight, view.weight)


def test_connections_keep_their_signs_from_change_to_change(make_view, make_network):
    view, _ = signed(make_view(), 0.5)
    updater = DeepRUpdater(0.0, 0.0)
    view = dataclasses.replace(view, remembered=dict(updater.first_states(view.weight)))
    (update,) = updater.update(make_network(view))
    crossed = np.arange(view.weight.size) % 7 == 0
    later = dataclasses.replace(
        view, weight=np.where(crossed, -update.weight, update.weight), remembered=update.remembered
    )
    (update,) = updater.update(make_network(later))
    kept = update.change.old_position[update.change.old_position >= 0]
    np.testing.assert_array_equal(kept, np.flatnonzero(~crossed))
    np.testing.assert_array_equal(update.remembered[SIGN], np.sign(update.weight))


def test_weights_shrink_and_those_that_reach_zero_go(make_view, make_network):
    view, _ = signed(make_view())
    (update,) = DeepRUpdater(0.3, 0.0).update(make_network(view))
    survives = np.abs(view.weight) > np.float32(0.3)
    assert 0 < survives.sum() < survives.size
    kept = update.change.old_position >= 0
    np.testing.assert_array_equal(update.change.old_position[kept], np.flatnonzero(survives))
    expected = np.sign(view.weight) * (np.abs(view.weight) - 0.3)
    np.testing.assert_allclose(update.weight[kept], expected[survives], atol=1e-6)


def test_noise_walks_all_weights_by_its_deviation(make_view, make_network):
    view, _ = signed(make_view((90, 110), 0.3))
    view = dataclasses.replace(view, weight=view.weight + 10 * np.sign(view.weight))
    (update,) = DeepRUpdater(0.0, 0.05).update(make_network(view))
    assert update.change.n_grown == 0
    moved = update.weight - view.weight
    assert moved.std() == pytest.approx(0.05, rel=0.05)
    assert abs(moved.mean()) < 0.005


def test_a_layer_that_shrinks_loses_its_weakest_first(make_view, make_network):
    view, is_wrong = signed(make_view(n_target=60), 0.1)
    (update,) = DeepRUpdater(0.0, 0.0).update(make_network(view))
    assert update.change.topology.n_connections == 60
    assert update.change.n_grown == 0
    size = np.where(is_wrong, 0, np.abs(view.weight))
    expected = np.sort(np.argsort(size, kind="stable")[-60:])
    np.testing.assert_array_equal(np.sort(size[update.change.old_position]), np.sort(size[expected]))
