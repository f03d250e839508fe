"""Top-KAST: the reserve rotates, what acts stays, and norms give way to the exploration loss."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_sparse.evolution.strategies import TopKastUpdater
from hpc_sparse.evolution.strategies.top_kast import TopKastSection
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.connections.reserve import Reserve
from hpc_sparse.network.connections.topology import Topology


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
    assert TopKastUpdater.grows_zero
    assert update.weight is None


def make_reserve(shape, density, acting_share=0.5, seed=4):
    """Connections half of which act, with he_uniform weights."""
    topology = Topology.random(shape, density, np.uint64(seed))
    weight = draw_weights("he_uniform", topology, np.uint64(seed + 1))
    return Reserve(topology, weight, acting_share)


def test_a_step_takes_its_part_off_the_norms_of_both_sets_and_leaves_their_proportions():
    connections = make_reserve((37, 53), 0.1)
    before = connections.weight.astype(np.float64)
    TopKastUpdater(0.01, 0.5).after_step(connections, 0.2)
    order, n = np.argsort(np.abs(before), kind="stable"), before.size
    n_acts = round(0.5 * n)
    for own, pull in ((order[n - n_acts :], 0.01 * 0.2), (order[: n - n_acts], 0.01 * 0.2 * 37 * 53 / n_acts)):
        norm = np.linalg.norm(before[own])
        np.testing.assert_allclose(connections.weight[own], before[own] * max(0, 1 - pull / norm), rtol=1e-5)


def test_a_step_is_the_proximal_one_of_the_published_norms():
    """What is left minimises |w - before|^2 / 2 + rate x loss, by brute force over the factors of both sets."""
    connections = make_reserve((11, 17), 0.2)
    before = connections.weight.astype(np.float64)
    acts = np.abs(before) >= np.sort(np.abs(before))[-round(0.5 * before.size)]
    share = acts.sum() / (11 * 17)
    TopKastUpdater(0.05, 0.5).after_step(connections, 0.1)
    for own, factor in ((acts, 1.0), (~acts, 1 / share)):
        shares = np.linspace(0, 1, 20001)
        norm = np.linalg.norm(before[own])
        costs = 0.5 * ((1 - shares) * norm) ** 2 + 0.1 * 0.05 * factor * shares * norm
        left = np.linalg.norm(connections.weight[own].astype(np.float64)) / norm
        assert left == pytest.approx(shares[np.argmin(costs)], abs=1e-4)


def test_the_reserve_of_a_very_sparse_layer_lives_on(make_view, make_network):
    """At density 0.002, of which half acts: a change takes nothing, and a step a bounded part of the norm."""
    connections = make_reserve((1000, 1000), 0.002)
    in_reserve = np.abs(connections.weight) < np.median(np.abs(connections.weight))
    before = np.linalg.norm(connections.weight[in_reserve])
    updater = TopKastUpdater(**TopKastSection(acting_share=0.5).model_dump())
    view = dataclasses.replace(
        make_view(), topology=connections.topology, weight=connections.weight, n_target=connections.weight.size
    )
    (update,) = updater.update(make_network(dataclasses.replace(view, acting_share=0.5), drop_fraction=0.0))
    assert update.weight is None
    assert update.change.n_grown == 0
    for _ in range(10):
        updater.after_step(connections, 0.01)
    left = np.linalg.norm(connections.weight[in_reserve])
    assert 0.9 * before < left < before


def test_a_loss_beyond_the_norm_leaves_nothing_and_turns_no_sign():
    connections = make_reserve((37, 53), 0.1)
    before = connections.weight.copy()
    TopKastUpdater(100.0, 0.5).after_step(connections, 1.0)
    assert not connections.weight.any()
    nothing = make_reserve((37, 53), 0.1)
    TopKastUpdater(0.0, 0.5).after_step(nothing, 1.0)
    np.testing.assert_array_equal(nothing.weight, before)


def test_a_layer_shrinks_by_its_smallest_weights(make_view, make_network):
    view = make_halved(make_view, n_target=100)
    (update,) = TopKastUpdater().update(make_network(view, drop_fraction=0.0))
    largest = np.sort(np.argsort(np.abs(view.weight), kind="stable")[-100:])
    np.testing.assert_array_equal(update.change.old_position, largest)
