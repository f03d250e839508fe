"""Guided stochastic exploration against its definition with dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.candidates import draw_candidates, gradients_at
from hpc_sparse.evolution.strategies import GseUpdater
from hpc_sparse.kernels.simd import machine

RULES = ["uniform", "grabo", "graest"]
SHAPES = [((37, 53), 0.1), ((53, 37), 0.4), ((1, 50), 0.3), ((50, 1), 0.3)]


def best(scores, n):
    """Positions of the ``n`` highest scores; among equal ones the first."""
    return np.argsort(-scores, kind="stable")[:n]


def dense_gse(views, candidates, drop_fraction, gradients):
    """Masks in dense form; layers exchange connections if there are several."""
    owner = np.concatenate([np.full(keys.size, number) for number, keys in enumerate(candidates)])
    scores = np.concatenate([np.abs(g.reshape(-1)[keys]) for g, keys in zip(gradients, candidates, strict=True)])
    chosen = best(scores, sum(min(int(drop_fraction * view.weight.size), view.n_target) for view in views))
    n_drop = chosen.size + sum(view.weight.size - view.n_target for view in views)
    sizes = np.concatenate([np.abs(view.weight) for view in views])
    dropped = np.argsort(sizes, kind="stable")[:n_drop]
    is_kept = np.ones(sizes.size, bool)
    is_kept[dropped] = False
    masks = np.split(is_kept, np.cumsum([view.weight.size for view in views])[:-1])
    grown = np.concatenate(candidates)
    return [
        np.sort(np.concatenate([view.topology.keys()[mask], grown[chosen[owner[chosen] == number]]]))
        for number, (view, mask) in enumerate(zip(views, masks, strict=True))
    ]


@pytest.mark.parametrize("n_target", [None, 15])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("shape", "density"), SHAPES)
def test_the_best_candidates_replace_the_weakest_connections(
    make_view, make_network, dense_gradient, shape, density, rule, n_target
):
    options = {"density": density, "is_whole": True, "n_target": n_target if density == 0.1 else None}
    view, same = make_view(shape, **options), make_view(shape, **options)
    candidates = draw_candidates(same, rule, 1.5)
    (update,) = GseUpdater(rule, 1.5).update(make_network(view))
    update.change.topology.check()
    (expected,) = dense_gse([view], [candidates], 0.3, [dense_gradient(view)])
    np.testing.assert_array_equal(update.change.topology.keys(), expected)
    assert update.change.topology.n_connections == view.n_target
    assert not np.isin(update.change.topology.keys()[update.change.old_position < 0], view.topology.keys()).any()


def test_layers_exchange_connections_if_the_scope_is_global_and_they_may(make_view, make_network, dense_gradient):
    def views():
        return [make_view((30, 40), 0.1, is_whole=True), make_view((20, 30), 0.3, is_whole=True, seed=5)]

    network = make_network(*views())
    candidates = [draw_candidates(view, "uniform", 1.0) for view in views()]
    updates = GseUpdater("uniform", 1.0, "global").update(network)
    expected = dense_gse(network.layers, candidates, 0.3, [dense_gradient(view) for view in network.layers])
    for update, keys in zip(updates, expected, strict=True):
        np.testing.assert_array_equal(update.change.topology.keys(), keys)
    sizes = [update.change.topology.n_connections for update in updates]
    before = [view.weight.size for view in network.layers]
    assert sizes != before
    assert sum(sizes) == sum(before)
    updates = GseUpdater("uniform", 1.0, "global").update(make_network(*views(), keeps_sizes=True))
    assert [update.change.topology.n_connections for update in updates] == before


def test_no_layer_loses_its_last_connection(make_view, make_network):
    views = [make_view((30, 40), 0.1), make_view((20, 30), 0.3, seed=5)]
    views[0].weight[:] *= 1e-6
    updates = GseUpdater("uniform", 0.01, "global").update(make_network(*views, drop_fraction=0.9))
    assert updates[0].change.topology.n_connections >= 1


@pytest.mark.parametrize("rule", RULES)
def test_candidates_are_new_distinct_and_at_most_as_many_as_drawn(make_view, rule):
    view = make_view()
    keys = draw_candidates(view, rule, 2.0)
    assert 0 < keys.size <= 2 * view.weight.size
    assert (np.diff(keys) > 0).all()
    assert not np.isin(keys, view.topology.keys()).any()


@pytest.mark.parametrize("rule", ["grabo", "graest"])
def test_pairs_are_drawn_in_proportion_to_what_goes_through_their_ends(make_view, rule):
    """In so thin a layer hardly a pair is drawn twice, so the counts of the neurons are multinomial."""
    view = make_view((40, 60), 0.02, n_samples=1)
    n = view.signals.n_samples
    source, delta = (
        np.abs(each.matrix()[:, :n].astype(np.float64)).sum(axis=1)
        for each in (view.signals.source, view.signals.delta)
    )
    free = np.ones(40 * 60)
    free[view.topology.keys()] = 0
    expected = np.outer(delta / delta.sum(), source / source.sum()).reshape(-1) * free
    times, n_draws = np.zeros(40 * 60), 600
    for _ in range(n_draws):
        times[draw_candidates(view, rule, 0.2)] += 1
    n_drawn = -(-0.2 * view.weight.size // 1)
    mean = n_draws * (1 - (1 - expected) ** n_drawn)
    is_likely = mean > 5
    chi_square = ((times - mean) ** 2 / np.maximum(mean, 1))[is_likely].sum()
    assert abs(chi_square - is_likely.sum()) < 5 * np.sqrt(2 * is_likely.sum())
    assert (times[expected == 0] == 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_where_nothing_is_known_all_pairs_are_alike(make_view, rule):
    view = make_view()
    view.signals.delta.values[:] = 0
    view.signals.source.values[:] = np.nan
    outs = draw_candidates(view, rule, 5.0) // 53
    assert np.unique(outs).size == 37


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_samples", [19, 112, 240])
def test_gradients_at_pairs_are_those_of_the_dense_matrix(make_view, dense_gradient, n_samples, width):
    view = make_view(n_samples=n_samples, width=width)
    keys = np.arange(0, 37 * 53, 5)
    found = gradients_at((37, 53), keys, view.signals)
    np.testing.assert_allclose(found, dense_gradient(view).reshape(-1)[keys], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_candidates_are_the_same_in_tiles_of_any_width(make_view, rule):
    found = [draw_candidates(make_view(n_samples=240, width=width), rule, 2.0).tolist() for width in machine.WIDTHS]
    assert all(keys == found[0] for keys in found)


def test_any_number_of_threads_and_the_same_stream_give_the_same(make_view, make_network, on_every_thread_count):
    for width in machine.WIDTHS:
        alone, together = on_every_thread_count(
            lambda width=width: (
                GseUpdater()
                .update(make_network(make_view(n_samples=112, width=width)))[0]
                .change.topology.keys()
                .tolist()
            )
        )
        assert alone == together
    other = GseUpdater().update(make_network(make_view(seed=2)))[0].change.topology.keys().tolist()
    assert other != alone
