"""RigL in sparse form against RigL with dense matrices, index by index."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_sparse.evolution import gradient_tiles
from hpc_sparse.evolution.gradient_tiles import GradientTiles, largest_gradients
from hpc_sparse.evolution.strategies import RiglUpdater
from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.tiles import Tiles

CASES = [
    {"shape": (37, 53)},
    {"shape": (300, 41), "density": 0.05},
    {"shape": (41, 300), "density": 0.05},
    {"shape": (1, 50), "density": 0.5},
    {"shape": (50, 1), "density": 0.5},
    {"shape": (40, 30), "density": 0.9},
    {"shape": (40, 30), "density": 1.0},
    {"shape": (37, 53), "n_samples": 1},
    {"shape": (37, 53), "n_samples": 16, "n_target": 100},
    {"shape": (37, 53), "n_samples": 45, "width": machine.WIDTHS[0]},
    {"shape": (41, 300), "density": 0.05, "n_samples": 240, "width": machine.WIDTHS[1]},
]


def dense_rigl(view, drop_fraction, gradient):
    """Masked dense matrices in float64; ties go to the first position."""
    n_out, n_in = view.topology.shape
    keys = view.topology.keys()
    weight = np.zeros(n_out * n_in)
    weight[keys] = view.weight
    n = keys.size
    n_drop = min(n, int(drop_fraction * n) + n - view.n_target)
    dropped = keys[np.argsort(np.abs(view.weight.astype(np.float64)), kind="stable")[:n_drop]]
    mask = np.zeros(n_out * n_in, bool)
    mask[keys] = True
    mask[dropped] = False
    score = np.abs(gradient).reshape(-1)
    score[mask] = -1
    grown = np.argsort(-score, kind="stable")[: view.n_target - (n - n_drop)]
    grown = grown[score[grown] >= 0]
    mask[grown] = True
    weight[np.setdiff1d(grown, keys)] = 0
    return np.flatnonzero(mask), weight[mask]


def assert_equal_to_dense(view, network, gradient):
    (update,) = RiglUpdater().update(network)
    keys, weight = dense_rigl(view, network.drop_fraction, gradient)
    update.change.topology.check()
    np.testing.assert_array_equal(update.change.topology.keys(), keys)
    np.testing.assert_array_equal(update.change.carry(view.weight), weight.astype(np.float32))
    return update


@pytest.mark.parametrize("drop_fraction", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("case", CASES)
def test_the_sparse_form_is_the_dense_one_index_by_index(
    make_view, make_network, dense_gradient, case, drop_fraction, monkeypatch
):
    for tile_rows, is_whole in ((128, True), (7, True), (7, False)):
        monkeypatch.setattr(gradient_tiles, "TILE_ROWS", tile_rows)
        view = make_view(**case, is_whole=is_whole)
        assert_equal_to_dense(view, make_network(view, drop_fraction=drop_fraction), dense_gradient(view))


def test_a_connection_that_is_dropped_and_grown_at_once_keeps_weight_and_velocity(make_view, make_network):
    view = make_view(density=0.5, is_whole=True)
    (update,) = RiglUpdater().update(make_network(view, drop_fraction=0.6))
    n_dropped = int(0.6 * view.weight.size)
    assert 0 < update.change.n_grown < n_dropped
    by_key = dict(zip(view.topology.keys().tolist(), view.momentum.tolist(), strict=True))
    carried = update.change.carry(view.momentum)
    assert carried.tolist() == [by_key.get(key, 0.0) for key in update.change.topology.keys().tolist()]


@pytest.mark.parametrize("width", machine.WIDTHS)
def test_tiles_that_cannot_matter_are_not_computed(make_view, monkeypatch, width):
    """A few loud neurons: all else is below the limit once they are through."""
    view = make_view((400, 90), 0.02, width=width)
    loud_rows, loud_columns = [3, 200, 399], [5, 60]
    for signals, rows in ((view.signals.delta, loud_rows), (view.signals.source, loud_columns)):
        for _, tile in signals:
            tile[rows] *= 1000
    computed = []
    compute = GradientTiles.compute
    monkeypatch.setattr(
        GradientTiles, "compute", lambda *arguments: computed.append(arguments[-1]) or compute(*arguments)
    )
    monkeypatch.setattr(gradient_tiles, "TILE_ROWS", 8)
    is_kept = np.ones(view.weight.size, bool)
    keys = largest_gradients(view.topology, is_kept, view.signals, 3)
    assert {*(keys // 90).tolist()} <= set(loud_rows)
    assert len(computed) < 25  # of 50 tiles
    assert set(computed[1:]) <= {1, 2}


def test_any_number_of_threads_gives_the_same(make_view, make_network, on_every_thread_count):
    view = make_view((150, 90), 0.05)
    alone, together = on_every_thread_count(
        lambda: RiglUpdater().update(make_network(view))[0].change.topology.keys().tolist()
    )
    assert alone == together


def test_tiles_of_any_width_lead_to_the_same_connections(make_view, make_network):
    found = []
    for width in machine.WIDTHS:
        (update,) = RiglUpdater().update(make_network(make_view((150, 90), 0.05, n_samples=240, width=width)))
        found.append(update.change.topology.keys().tolist())
    assert all(keys == found[0] for keys in found)


def test_signals_that_are_no_numbers_are_no_reason_to_grow(make_view, make_network):
    view = make_view()
    source = view.signals.source.matrix().copy()
    source[::2] = np.nan
    view = dataclasses.replace(view, signals=Signals(Tiles.of(source), view.signals.delta, view.signals.n_samples))
    with np.errstate(invalid="ignore"):
        (update,) = RiglUpdater().update(make_network(view))
    grown = update.change.topology.keys()[update.change.old_position < 0]
    assert (grown % 53 % 2 == 1).all()


def test_a_layer_without_connections_stays_empty(make_view, make_network):
    view = dataclasses.replace(
        make_view(), topology=Topology.empty((37, 53)), weight=np.empty(0, np.float32), n_target=0
    )
    (update,) = RiglUpdater().update(make_network(view))
    assert update.change.topology.n_connections == 0
