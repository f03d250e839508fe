"""Strategies that decide about blocks of connections, on the numbers of all single ones."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.candidates import draw_candidates, gradients_at
from hpc_sparse.evolution.gradient_tiles import largest_gradients
from hpc_sparse.evolution.protocol import LayerView, NetworkView
from hpc_sparse.evolution.strategies.deep_r import DeepRUpdater
from hpc_sparse.evolution.strategies.gse import GseUpdater
from hpc_sparse.evolution.strategies.rigl import RiglUpdater
from hpc_sparse.evolution.strategies.set import SetUpdater
from hpc_sparse.evolution.strategies.snfs import SnfsUpdater
from hpc_sparse.evolution.strategies.srigl import SriglUpdater
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.tiles import Tiles

SHAPE, N_SAMPLES = (300, 141), 37
UNITS = [(4, 4), (16, 32), (32, 8), (1, 16)]


def make_view(unit, n_less=0):
    rng, (r, c) = np.random.default_rng(1), unit
    grid = -(-SHAPE[0] // r), -(-SHAPE[1] // c)
    topology = Topology.from_keys(grid, np.flatnonzero(rng.random(grid) < 0.3))
    n = topology.n_connections
    signals = [rng.standard_normal((size, N_SAMPLES)).astype(np.float32) for size in SHAPE]
    delta, source = (Tiles.of(each, 16) for each in signals)
    scores, momentum = rng.random(n).astype(np.float32), rng.standard_normal(n * r * c).astype(np.float32)
    return LayerView(
        topology,
        scores,
        momentum,
        n - n_less,
        np.random.default_rng(2),
        Signals(source, delta, N_SAMPLES),
        lambda topology: np.ones(topology.n_connections, np.float32),
        unit=unit,
    ), unit_sums(signals, unit)


def unit_sums(signals, unit):
    """Sum of the absolute gradients of every block, in float64."""
    (r, c), (delta, source) = unit, signals
    sums = np.abs(delta.astype(np.float64) @ source.T)
    return np.add.reduceat(np.add.reduceat(sums, np.arange(0, SHAPE[0], r), axis=0), np.arange(0, SHAPE[1], c), axis=1)


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_gradients_of_blocks_are_sums_of_absolute_ones(unit):
    view, sums = make_view(unit)
    keys = np.flatnonzero(np.random.default_rng(3).random(sums.size) < 0.5)
    np.testing.assert_allclose(gradients_at(sums.shape, keys, view.signals, unit), sums.ravel()[keys], rtol=1e-5)
    is_kept = view.weight > 0.5
    free = sums.copy().ravel()
    free[view.topology.keys()[is_kept]] = -1
    found = largest_gradients(view.topology, is_kept, view.signals, 7, unit)
    assert found.tolist() == sorted(np.argsort(-free)[:7].tolist())


@pytest.mark.parametrize("rule", ["uniform", "grabo", "graest"])
def test_candidates_are_free_blocks(rule):
    view, sums = make_view((16, 8))
    keys = draw_candidates(view, rule, 2.0)
    assert keys.size
    assert keys.max() < sums.size
    assert not np.isin(keys, view.topology.keys()).any()


@pytest.mark.parametrize("unit", UNITS, ids=str)
@pytest.mark.parametrize(
    "updater",
    [SetUpdater(), GseUpdater(), RiglUpdater(), SnfsUpdater(), SriglUpdater(), DeepRUpdater(0.02, 0.01)],
    ids=lambda updater: updater.name,
)
def test_every_strategy_replaces_blocks(updater, unit):
    view, _ = make_view(unit, n_less=3)
    view_of_output = Topology.from_keys((1, view.topology.shape[0]), np.arange(view.topology.shape[0]))
    (update,) = updater.update(NetworkView((view,), view_of_output, 0.3, keeps_sizes=True))
    change = update.change
    change.topology.check()
    assert change.topology.shape == view.topology.shape
    assert change.topology.n_connections == view.n_target
    assert change.n_grown > 0 or updater.name == "deep_r"
    if updater.name in {"set", "gse", "rigl"}:
        dropped = np.setdiff1d(np.arange(view.weight.size), change.old_position)
        kept = change.old_position[change.old_position >= 0]
        stays = kept if updater.name != "rigl" else kept[np.argsort(view.weight[kept])][change.n_grown :]
        assert view.weight[dropped].max() <= view.weight[stays].min()
