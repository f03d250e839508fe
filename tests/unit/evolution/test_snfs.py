"""SNFS: connections move to the layers of large momentum, and to candidates of large gradient."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_sparse.evolution.selection import draw_free_keys
from hpc_sparse.evolution.strategies import SnfsUpdater


def make_views(make_view, momenta=(1.0, 3.0), **options):
    views = [make_view((30, 40), 0.1, is_whole=True, **options), make_view((25, 30), 0.2, is_whole=True, seed=5)]
    return [
        dataclasses.replace(view, momentum=np.full(view.weight.size, momentum * (-1) ** number, np.float32))
        for number, (view, momentum) in enumerate(zip(views, momenta, strict=True))
    ]


def sizes(updates):
    return np.array([update.change.topology.n_connections for update in updates])


def test_what_is_dropped_is_shared_out_by_the_mean_momentum(make_view, make_network):
    views = make_views(make_view)
    updates = SnfsUpdater().update(make_network(*views, drop_fraction=0.4))
    before = np.array([view.weight.size for view in views])
    n_dropped = (0.4 * before).astype(int)
    expected = before - n_dropped + n_dropped.sum() * np.array([1, 3]) / 4
    assert np.abs(sizes(updates) - expected).max() <= 1
    assert sizes(updates).sum() == before.sum()


def test_layers_keep_their_sizes_where_they_must(make_view, make_network):
    views = make_views(make_view, n_target=50)
    updates = SnfsUpdater().update(make_network(*views, keeps_sizes=True))
    assert sizes(updates).tolist() == [50, views[1].weight.size]


def test_a_full_layer_passes_on_what_it_cannot_take(make_view, make_network):
    views = make_views(make_view, momenta=(0.001, 1000.0))
    full = make_view((25, 30), 0.97, seed=5)
    views[1] = dataclasses.replace(full, momentum=np.full(full.weight.size, 1000, np.float32))
    updates = SnfsUpdater().update(make_network(*views, drop_fraction=0.5))
    n_free = 25 * 30 - full.weight.size
    assert sizes(updates)[1] <= 25 * 30
    assert (updates[1].change.old_position >= 0).sum() >= full.weight.size - n_free
    assert sizes(updates).sum() == sum(view.weight.size for view in views)


@pytest.mark.parametrize("ratio", [0.1, 1.0, 50.0])
def test_of_the_candidates_those_of_largest_gradient_grow(make_view, make_network, dense_gradient, ratio):
    view, same = (make_view(is_whole=True) for _ in range(2))
    (update,) = SnfsUpdater(ratio).update(make_network(view, drop_fraction=0.3))
    keys, n = view.topology.keys(), view.weight.size
    n_drop = int(0.3 * n)
    is_kept = np.ones(n, bool)
    is_kept[np.argsort(np.abs(view.weight), kind="stable")[:n_drop]] = False
    candidates = draw_free_keys(view.topology, is_kept, max(n_drop, int(np.ceil(ratio * n))), same.rng)
    score = np.abs(dense_gradient(view).reshape(-1)[candidates])
    grown = candidates[np.argsort(-score, kind="stable")[:n_drop]]
    expected = np.sort(np.concatenate([keys[is_kept], grown]))
    np.testing.assert_array_equal(update.change.topology.keys(), expected)
    by_key = dict(zip(keys.tolist(), view.weight.tolist(), strict=True))
    carried = update.change.carry(view.weight)
    assert carried.tolist() == [by_key.get(key, 0.0) for key in expected.tolist()]


def test_a_network_at_rest_shares_out_evenly(make_view, make_network):
    updates = SnfsUpdater().update(make_network(*make_views(make_view, momenta=(0, 0))))
    kept = [(update.change.old_position >= 0).sum() for update in updates]
    assert abs(np.diff(sizes(updates) - kept)[0]) < 30
