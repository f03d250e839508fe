"""CHT: scores of missing links against dense matrices, and what becomes of dead neurons."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_sparse.evolution.percolation import percolate
from hpc_sparse.evolution.strategies import ChtUpdater, cht
from hpc_sparse.evolution.strategies.cht import predicted_links
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
