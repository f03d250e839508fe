"""CHT: scores of missing links against dense matrices, and what becomes of dead neurons."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_sparse.evolution.percolation import percolate
from hpc_sparse.evolution.strategies import ChtUpdater, cht
from hpc_sparse.evolution.strategies.cht import predicted_links
from hpc_sparse.kernels.growth import link_prediction
from hpc_sparse.network.connections.topology import Topology


def dense_half(links):
    """E M with E = 1 / max(degree - common, 1) where there is something in common; ``links`` by nodes of one side."""
    common = links @ links.T
    external = np.where(common > 0, 1 / np.maximum(links.sum(axis=1)[None, :] - common, 1), 0)
    return external @ links


def dense_scores(topology):
    """float64[n_out, n_in]: 0 for linked pairs."""
    links = np.zeros(topology.shape)
    links.reshape(-1)[topology.keys()] = 1
    return np.where(links > 0, 0, dense_half(links.T).T + dense_half(links))


def path_scores(topology):
    """float64[n_out, n_in] by going along every path of length three: the authors' CH3 with lengths of 3."""
    n_out, n_in = topology.shape
    links = np.zeros((n_out, n_in), bool)
    links.reshape(-1)[topology.keys()] = True
    scores = np.zeros((n_out, n_in))
    for u, v in zip(*np.nonzero(~links), strict=True):
        for a in np.flatnonzero(links[u]):
            for b in np.flatnonzero(links[:, a] & links[:, v]):
                # Neighbours of a are outputs: u, and those that also lead to v; the others are external.
                external_a = links[:, a].sum() - 1 - (links[:, a] & links[:, v]).sum()
                external_b = links[b].sum() - 1 - (links[b] & links[u]).sum()
                scores[u, v] += 1 / np.sqrt((1 + external_a) * (1 + external_b))
    return scores


@pytest.mark.parametrize(("shape", "density"), [((30, 40), 0.05), ((30, 40), 0.15), ((1, 50), 0.5), ((20, 15), 0.9)])
def test_path_scores_are_those_of_going_along_every_path(shape, density):
    topology = Topology.random(shape, density, np.uint64(3))
    index = (*topology.rows, *topology.transposed.rows)
    for n_blocks in (1, 3):
        totals, scores = np.empty(shape), np.empty(shape, np.float32)
        link_prediction.score_paths(*index, 0, shape[0], n_blocks, totals, scores)
        np.testing.assert_allclose(np.maximum(scores, 0), path_scores(topology), rtol=1e-5)


def test_links_of_highest_path_score_grow_if_paths_are_asked_for(make_view, make_network, monkeypatch):
    monkeypatch.setattr(cht, "MAX_TILE_ROWS", 16)
    topology = Topology.random((37, 53), 0.1, np.uint64(3))
    scores = path_scores(topology).reshape(-1)
    keys = predicted_links(topology, 40, "path")
    assert scores[keys].min() >= np.delete(scores, keys).max() * (1 - 1e-6)
    view = make_view(density=0.15)
    by_path, by_node = (ChtUpdater(score).update(make_network(view))[0] for score in ("path", "node"))
    assert by_path.change.topology.keys().tolist() != by_node.change.topology.keys().tolist()


def test_soft_growth_draws_links_in_proportion_to_their_scores():
    """Of one link at a time, 4,000 times; the tile does not matter, nor does anything but key and pair."""
    topology = Topology.random((6, 7), 0.4, np.uint64(2))
    scores = dense_scores(topology).reshape(-1)
    rng = np.random.default_rng(1)
    drawn = [predicted_links(topology, 1, "node", rng.integers(0, 1 << 64, dtype=np.uint64))[0] for _ in range(4000)]
    counts, expected = np.bincount(drawn, minlength=42), 4000 * scores / scores.sum()
    assert not counts[expected == 0].any()
    present = expected > 0
    chi_square = ((counts - expected)[present] ** 2 / expected[present]).sum()
    assert chi_square < present.sum() + 4 * np.sqrt(2 * present.sum())


def test_soft_growth_is_the_same_in_any_tiles_and_on_any_threads(monkeypatch, on_every_thread_count):
    topology = Topology.random((140, 30), 0.1, np.uint64(3))
    found = []
    for most in (512, 16):
        monkeypatch.setattr(cht, "MAX_TILE_ROWS", most)
        found += on_every_thread_count(lambda: predicted_links(topology, 60, "path", np.uint64(7)).tolist())
    assert len(found[0]) == 60
    assert all(keys == found[0] for keys in found)
    assert predicted_links(topology, 60, "path", np.uint64(8)).tolist() != found[0]


def test_soft_removal_keeps_large_weights_more_often_and_ever_more_so(make_view, make_network):
    view = make_view((60, 80), 0.2)
    size = np.abs(view.weight)

    def kept(share_done):
        network = dataclasses.replace(make_network(dataclasses.replace(view, rng=np.random.default_rng(5))))
        network = dataclasses.replace(network, share_done=share_done)
        (update,) = ChtUpdater(growth="soft", removal="soft").update(network)
        assert update.change.topology.n_connections == view.weight.size
        return np.isin(view.topology.keys(), update.change.topology.keys())

    first, last = kept(0.0), kept(1.0)
    assert size[first].mean() > size[~first].mean()
    assert size[~last].mean() < size[~first].mean()
    assert not first[np.argsort(size)[-200:]].all(), "some large ones go"


@pytest.mark.parametrize(
    ("shape", "density"), [((37, 53), 0.05), ((37, 53), 0.3), ((140, 30), 0.1), ((1, 50), 0.5), ((20, 15), 0.9)]
)
@pytest.mark.parametrize("n_wanted", [0, 1, 40, 10_000])
def test_the_predicted_links_are_those_of_highest_score(shape, density, n_wanted, monkeypatch):
    monkeypatch.setattr(cht, "MAX_TILE_ROWS", 16)
    topology = Topology.random(shape, density, np.uint64(3))
    scores = dense_scores(topology).reshape(-1)
    keys = predicted_links(topology, n_wanted)
    assert (np.diff(keys) > 0).all()
    assert keys.size == min(n_wanted, np.count_nonzero(scores))
    assert (scores[keys] > 0).all()
    left = np.delete(scores, keys)
    if keys.size and left.size:
        assert scores[keys].min() >= left.max() * (1 - 1e-6)


def test_links_that_no_path_suggests_are_drawn_at_random(make_view, make_network):
    topology = Topology.from_keys((30, 40), np.arange(30) * 40 + np.arange(30))
    weight = np.linspace(1, 2, 30, dtype=np.float32)
    view = dataclasses.replace(make_view(), topology=topology, weight=weight, momentum=weight, n_target=30)
    assert predicted_links(topology, 10).size == 0
    (update,) = ChtUpdater().update(make_network(view, drop_fraction=0.5))
    assert update.change.topology.n_connections == 30
    assert update.change.n_grown > 10


@pytest.mark.parametrize("n_target", [None, 230])
def test_the_weakest_go_and_the_predicted_come(make_view, make_network, n_target):
    view = make_view(density=0.15, n_target=n_target)
    (update,) = ChtUpdater().update(make_network(view))
    update.change.topology.check()
    assert update.change.topology.n_connections == view.n_target
    n_drop = view.n_to_drop(0.3)
    is_kept = np.ones(view.weight.size, bool)
    is_kept[np.argsort(np.abs(view.weight), kind="stable")[:n_drop]] = False
    left = Topology.from_keys((37, 53), view.topology.keys()[is_kept])
    expected = np.sort(np.concatenate([left.keys(), predicted_links(left, view.n_target - left.n_connections)]))
    np.testing.assert_array_equal(update.change.topology.keys(), expected)
    by_key = dict(zip(view.topology.keys().tolist(), view.weight.tolist(), strict=True))
    assert update.change.carry(view.weight).tolist() == [by_key.get(key, 0.0) for key in expected.tolist()]


def test_a_layer_in_which_nearly_all_comes_back_stays_as_it_is(make_view, make_network):
    """Two complete bipartite communities: nothing but what was dropped is suggested."""
    links = np.zeros((20, 30))
    links[:10, :15] = links[10:, 15:] = 1
    topology = Topology.from_keys((20, 30), np.flatnonzero(links))
    weight = np.random.default_rng(2).random(300).astype(np.float32)
    view = dataclasses.replace(make_view(), topology=topology, weight=weight, momentum=weight, n_target=300)
    assert ChtUpdater().update(make_network(view, drop_fraction=0.1)) == [None]
    shrinking = dataclasses.replace(view, n_target=290)
    (update,) = ChtUpdater().update(make_network(shrinking, drop_fraction=0.1))
    assert update.change.topology.n_connections == 290


def test_connections_of_dead_neurons_go_and_so_do_those_that_they_leave_dead():
    # 4 inputs - 4 - 4 - 2 outputs. Neuron 3 of the last layer is not heard; only neuron 2 below feeds it.
    first = Topology.from_keys((4, 4), np.array([0, 5, 6, 10, 11]))  # neuron 3 has no input
    second = Topology.from_keys((4, 4), np.array([0, 5, 7, 11, 14]))
    output = Topology.from_keys((2, 4), np.array([0, 1, 5, 6]))  # nothing comes from neuron 3
    kept = [np.ones(5, bool), np.ones(5, bool)]
    below, above = percolate([first, second], kept, output)
    # Row 3 of the second layer is not heard: key 14 goes. Then neuron 2 of the first is not heard: keys 10, 11 go.
    # Neuron 3 of the first has no input: keys 7 and 11 of the second go.
    assert first.keys()[below].tolist() == [0, 5, 6]
    assert second.keys()[above].tolist() == [0, 5]
    assert all(mask.all() for mask in kept)


def test_layers_get_their_numbers_back_after_percolation(make_view, make_network):
    views = [make_view((30, 40), 0.03), make_view((25, 30), 0.03, seed=5)]
    updates = ChtUpdater().update(make_network(*views))
    dropped = [
        view.weight.size - (update.change.old_position >= 0).sum() for view, update in zip(views, updates, strict=True)
    ]
    assert [update.change.topology.n_connections for update in updates] == [view.weight.size for view in views]
    assert dropped[0] > int(0.3 * views[0].weight.size) * 0.5


def test_any_number_of_threads_gives_the_same(make_view, make_network, on_every_thread_count):
    alone, together = on_every_thread_count(
        lambda: ChtUpdater().update(make_network(make_view((150, 90), 0.05)))[0].change.topology.keys().tolist()
    )
    assert alone == together
