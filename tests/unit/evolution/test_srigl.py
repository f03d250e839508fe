"""SRigL in sparse form against SRigL with dense matrices, index by index."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from hpc_sparse.evolution import gradient_tiles
from hpc_sparse.evolution.strategies import SriglUpdater
from hpc_sparse.kernels.simd import machine
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.tiles import Tiles

CASES = [
    {"shape": (37, 53)},
    {"shape": (140, 11), "density": 0.2},
    {"shape": (11, 140), "density": 0.05},
    {"shape": (1, 50), "density": 0.5},
    {"shape": (50, 1), "density": 0.5},
    {"shape": (40, 30), "density": 0.9},
    {"shape": (40, 30), "density": 1.0},
    {"shape": (37, 53), "n_samples": 1},
    {"shape": (37, 53), "n_target": 100},
    {"shape": (37, 53), "n_samples": 45, "width": machine.WIDTHS[0]},
    {"shape": (11, 140), "density": 0.05, "n_samples": 240, "width": machine.WIDTHS[1]},
]


def dense_srigl(view, drop_fraction, gradient, min_salient):
    """Step by step on dense matrices in float64; of equal weights the first go, of equal gradients the first come."""
    (n_out, n_in), n = view.topology.shape, view.weight.size
    keys = view.topology.keys()
    size = np.full(n_out * n_in, -1.0)
    size[keys] = np.abs(view.weight)
    gradient = np.abs(gradient).reshape(-1)
    n_keep = n - min(n, int(drop_fraction * n) + n - view.n_target)
    by_size = keys[np.argsort(size[keys], kind="stable")]
    salient = set(by_size[n - n_keep :]) | set(np.argsort(-gradient, kind="stable")[: view.n_target - n_keep])
    counts = np.array([sum(key // n_in == row for key in salient) for row in range(n_out)])
    n_active = sum(count >= max(1, math.floor(min_salient * (view.n_target // n_out))) for count in counts)
    n_active = max(n_active if min_salient else n_out, math.ceil(view.n_target / n_in))
    chosen = sorted(range(n_out), key=lambda row: -counts[row])[:n_active]
    fan_in = {row: view.n_target // n_active + (rank < view.n_target % n_active) for rank, row in enumerate(chosen)}
    staying = [key for key in by_size if key // n_in in fan_in]
    kept = staying[max(0, len(staying) - n_keep) :]
    result = []
    for row, width in fan_in.items():
        own = [key for key in kept if key // n_in == row]
        own = own[max(0, len(own) - width) :]
        others = [key for key in range(row * n_in, (row + 1) * n_in) if key not in own]
        result += own + sorted(others, key=lambda key: -gradient[key])[: width - len(own)]
    return np.sort(np.array(result, np.int64)), len(fan_in)


@pytest.mark.parametrize("min_salient", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("case", CASES)
def test_the_sparse_form_is_the_dense_one_index_by_index(
    make_view, make_network, dense_gradient, case, min_salient, monkeypatch
):
    for tile_rows, is_whole, drop_fraction in ((128, True, 0.3), (7, True, 0.9), (7, False, 0.3)):
        monkeypatch.setattr(gradient_tiles, "TILE_ROWS", tile_rows)
        view = make_view(**case, is_whole=is_whole)
        (update,) = SriglUpdater(min_salient).update(make_network(view, drop_fraction=drop_fraction))
        expected, n_active = dense_srigl(view, drop_fraction, dense_gradient(view), min_salient)
        topology = update.change.topology
        topology.check()
        np.testing.assert_array_equal(topology.keys(), expected)
        fan_in = topology.fan_in()
        assert np.ptp(fan_in[fan_in > 0]) <= 1
        assert np.count_nonzero(fan_in) == min(n_active, view.n_target)
        by_key = dict(zip(view.topology.keys().tolist(), view.weight.tolist(), strict=True))
        assert update.change.carry(view.weight).tolist() == [by_key.get(key, 0.0) for key in expected.tolist()]


def test_neurons_are_ablated_and_come_back_when_their_gradients_are_salient(make_view, make_network):
    view = make_view((20, 40), 0.2)
    (delta,) = (tile for _, tile in view.signals.delta)
    delta[:] = np.abs(delta) + 1
    quiet = view.topology.keys() // 40 == 3
    view.weight[quiet], delta[3] = 1e-6, 0
    (update,) = SriglUpdater(0.3).update(make_network(view))
    assert update.change.topology.fan_in()[3] == 0
    assert update.change.topology.n_connections == view.weight.size
    delta[3] = 1000
    now = update.change.topology
    later = dataclasses.replace(view, topology=now, weight=update.change.carry(view.weight), n_target=now.n_connections)
    (update,) = SriglUpdater(0.3).update(make_network(later))
    assert update.change.topology.fan_in()[3] > 0


def test_the_limit_of_ablation_does_not_rise_as_neurons_go(make_view, make_network):
    """10 inputs for each of 20 neurons, or 20 for each of 10: 3 salient connections are enough either way."""
    for n_before in (20, 10):
        keys = (np.arange(n_before)[:, None] * 50 + np.arange(200 // n_before)).reshape(-1)
        weight = np.ones(200, np.float32)
        weight[(keys // 50 < n_before // 2) & (keys % 50 >= 3)] = 1e-6  # three that are kept, for the first half
        source, delta = np.ones((50, 8), np.float32), np.full((20, 8), 1e-9, np.float32)
        n_drop = int((weight < 0.5).sum())
        source[25:], delta[-1] = 100, 1  # what is salient by its gradient leads to the last neuron
        signals = Signals(Tiles.of(source), Tiles.of(delta), 8)
        view = dataclasses.replace(
            make_view((20, 50)),
            topology=Topology.from_keys((20, 50), keys),
            weight=weight,
            n_target=200,
            signals=signals,
        )
        (update,) = SriglUpdater(0.3).update(make_network(view, drop_fraction=n_drop / 200))
        assert (update.change.topology.fan_in()[:n_before] > 0).all(), n_before


def test_the_limit_of_ablation_is_rounded_down(make_view, make_network):
    """With 5 inputs each, 0.3 of them are 1.5: one salient connection is enough."""
    keys = (np.arange(20)[:, None] * 50 + np.arange(5)).reshape(-1)
    weight = np.where(keys % 50 == 0, np.float32(1), np.float32(1e-6))
    delta = np.full((20, 8), 1e-9, np.float32)
    delta[-1] = 1
    source = np.ones((50, 8), np.float32)
    source[25:] = 100
    signals = Signals(Tiles.of(source), Tiles.of(delta), 8)
    view = dataclasses.replace(
        make_view((20, 50)), topology=Topology.from_keys((20, 50), keys), weight=weight, n_target=100, signals=signals
    )
    (update,) = SriglUpdater(0.3).update(make_network(view, drop_fraction=0.5))
    assert (update.change.topology.fan_in()[:10] > 0).sum() == 10


def test_any_number_of_threads_gives_the_same(make_view, make_network, on_every_thread_count):
    view = make_view((150, 90), 0.05)
    alone, together = on_every_thread_count(
        lambda: SriglUpdater().update(make_network(view))[0].change.topology.keys().tolist()
    )
    assert alone == together


def test_tiles_of_any_width_lead_to_the_same_connections(make_view, make_network):
    found = []
    for width in machine.WIDTHS:
        (update,) = SriglUpdater().update(make_network(make_view((150, 90), 0.05, n_samples=240, width=width)))
        found.append(update.change.topology.keys().tolist())
    assert all(keys == found[0] for keys in found)


def test_signals_that_are_no_numbers_are_no_reason_to_grow(make_view, make_network):
    view = make_view()
    source, delta = (each.matrix().copy() for each in (view.signals.source, view.signals.delta))
    source[1::2] += 1  # else a neuron may have nothing better than 0
    source[::2] = np.nan
    signals = Signals(Tiles.of(source), Tiles.of(delta + 1), view.signals.n_samples)
    view = dataclasses.replace(view, signals=signals)
    with np.errstate(invalid="ignore"):
        (update,) = SriglUpdater(0.0).update(make_network(view))
    grown = update.change.topology.keys()[update.change.old_position < 0]
    assert grown.size
    assert (grown % 53 % 2 == 1).all()


def test_a_layer_without_connections_stays_empty(make_view, make_network):
    view = dataclasses.replace(
        make_view(), topology=Topology.empty((37, 53)), weight=np.empty(0, np.float32), n_target=0
    )
    (update,) = SriglUpdater().update(make_network(view))
    assert update.change.topology.n_connections == 0
