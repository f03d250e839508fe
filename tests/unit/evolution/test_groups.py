"""Evolution within groups of inputs: each keeps its number of connections, whatever comes and goes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_sparse.evolution.protocol import LayerView, NetworkView
from hpc_sparse.evolution.selection import draw_free_keys
from hpc_sparse.evolution.strategies import DeepRUpdater, GseUpdater, RiglUpdater, SetUpdater
from hpc_sparse.network.connections.group_pattern import GroupPattern
from hpc_sparse.network.connections.grouped_index import GroupedIndex
from hpc_sparse.network.connections.groups import InputGroups
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.tiles import Tiles

UPDATERS = {
    "set": SetUpdater(),
    "deep_r": DeepRUpdater(shrinkage=0.1, noise=0.5),
    "rigl": RiglUpdater(),
    "gse": GseUpdater(),
    "gse with many candidates": GseUpdater(candidates="uniform", candidate_ratio=5.0),
}


def view_of(pattern, n_out, n_in, seed=1):
    rng = np.random.default_rng(seed)
    topology = GroupedIndex.random((n_out, n_in), GroupPattern.parse(pattern), np.uint64(seed)).topology()
    source, delta = (Tiles.of(rng.standard_normal((n, 32)).astype(np.float32)) for n in (n_in, n_out))
    weight = rng.standard_normal(topology.n_connections).astype(np.float32).round(1)
    initial = lambda other: draw_weights("he_uniform", other, np.uint64(3))  # noqa: E731
    return LayerView(topology, weight, None, weight.size, rng, Signals(source, delta, 21), initial)


def network_of(view, drop_fraction=0.3):
    output = Topology.random((3, view.topology.shape[0]), 1.0, np.uint64(0))
    return NetworkView((view,), output, drop_fraction)


def dense_of(topology, values):
    return topology.matrix(values).toarray()


def grown_of(update):
    t = update.change.topology
    return t.keys()[update.change.old_position < 0]


@pytest.mark.parametrize("drop_fraction", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("pattern", "n_out", "n_in"), [("2:4", 37, 53), ("1:4", 5, 200), ("26:256", 40, 300)])
@pytest.mark.parametrize("name", UPDATERS)
def test_every_group_keeps_its_number_and_something_changes(name, pattern, n_out, n_in, drop_fraction):
    view = view_of(pattern, n_out, n_in)
    (update,) = UPDATERS[name].update(network_of(view, drop_fraction))
    topology = update.change.topology
    topology.check()
    assert GroupedIndex.of(topology, GroupPattern.parse(pattern)) is not None
    assert topology.groups == view.topology.groups
    assert (grown_of(update).size > 0) == (drop_fraction > 0 or name == "deep_r")


@given(st.integers(2, 9).flatmap(lambda m: st.tuples(st.integers(1, m - 1), st.just(m))), st.data())
def test_whatever_is_dropped_the_draw_fills_each_group_again(sizes, data):
    pattern, n_out = GroupPattern(*sizes), data.draw(st.integers(1, 5))
    n_in, seed = data.draw(st.integers(pattern.m, 40)), data.draw(st.integers(0, 999))
    topology = GroupedIndex.random((n_out, n_in), pattern, np.uint64(seed)).topology()
    rng = np.random.default_rng(seed)
    is_kept = rng.random(topology.n_connections) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    grown = draw_free_keys(topology, is_kept, int((~is_kept).sum()), rng)
    assert not np.isin(grown, topology.keys()[is_kept]).any()
    assert (np.diff(grown) > 0).all()
    assert GroupedIndex.of(topology.replaced(is_kept, grown).topology, pattern) is not None


def test_every_free_input_of_a_group_is_drawn_equally_often():
    topology = GroupedIndex.random((9000, 8), GroupPattern(2, 4), np.uint64(1)).topology()
    is_kept = np.arange(topology.n_connections) % 2 == 0  # one of each group
    grown = draw_free_keys(topology, is_kept, int((~is_kept).sum()), np.random.default_rng(2))
    kept = topology.indices[is_kept] % 4
    rank = grown % 4 - (grown % 4 > kept)
    counts = np.bincount(rank, minlength=3)
    assert (np.square(counts - 6000) / 6000).sum() < 13.8  # 0.1 % of chi-square with 2 degrees of freedom


def test_rigl_grows_the_largest_gradients_of_each_group():
    view = view_of("2:5", 130, 53)  # several tiles of rows, a shorter last group
    (update,) = RiglUpdater().update(network_of(view))
    n_drop, size = int(0.3 * view.weight.size), np.abs(view.weight)
    limit = np.sort(size)[n_drop - 1]
    is_kept = size > limit
    is_kept[np.flatnonzero(size == limit)[n_drop - int((size < limit).sum()) :]] = True
    delta, source = (each.matrix()[:, :21].astype(np.float64) for each in (view.signals.delta, view.signals.source))
    scores = np.abs(delta @ source.T)
    kept = dense_of(view.topology, is_kept.astype(np.float32)) > 0
    expected = kept.copy()
    for row in range(130):
        for begin in range(0, 53, 5):
            free = [column for column in range(begin, min(53, begin + 5)) if not kept[row, column]]
            n_wanted = GroupPattern(2, 5).last_count(53) if begin == 50 else 2
            n_wanted -= int(kept[row, begin : begin + 5].sum())
            expected[row, sorted(free, key=lambda column, row=row: -scores[row, column])[:n_wanted]] = True
    found = dense_of(update.change.topology, np.ones(view.weight.size))
    np.testing.assert_array_equal(found > 0, expected)


def test_gse_drops_the_weakest_of_the_groups_in_which_it_grows():
    view = view_of("3:8", 40, 64)
    (update,) = UPDATERS["gse with many candidates"].update(network_of(view, 0.2))
    kept = np.zeros(view.weight.size, bool)
    kept[update.change.old_position[update.change.old_position >= 0]] = True
    before, stays = (dense_of(view.topology, values) for values in (np.abs(view.weight) + 1, kept.astype(np.float32)))
    for row in range(40):
        for begin in range(0, 64, 8):
            own = before[row, begin : begin + 8]
            gone = own[(own > 0) & (stays[row, begin : begin + 8] == 0)]
            left = own[stays[row, begin : begin + 8] > 0]
            assert not gone.size or not left.size or gone.max() <= left.min()


def test_replicas_together_are_cut_back_to_the_largest_of_each_group():
    pattern, rng = GroupPattern(2, 4), np.random.default_rng(0)
    each = [GroupedIndex.random((9, 22), pattern, np.uint64(seed)).topology() for seed in range(3)]
    keys = np.unique(np.concatenate([topology.keys() for topology in each]))
    scores = rng.standard_normal(keys.size).astype(np.float32)
    is_kept = InputGroups(pattern, 22).keep_largest(keys, scores)
    assert GroupedIndex.of(Topology.from_keys((9, 22), keys[is_kept]), pattern) is not None
    dense = np.zeros(9 * 22)
    dense[keys] = np.abs(scores)
    for row in dense.reshape(9, 22):
        for begin in range(0, 20, 4):
            own = np.sort(row[begin : begin + 4])[::-1][:2]
            chosen = dense[keys[is_kept]]
            assert np.isin(own, chosen).all()
