"""Layers with signals, as a strategy gets to see them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hpc_sparse.evolution.protocol import LayerView, NetworkView
from hpc_sparse.kernels.simd import machine
from hpc_sparse.kernels.simd.buffers import padded_columns
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.tiles import Tiles


def make_signals(
    shape: tuple[int, int], n_samples: int, rng: np.random.Generator, *, is_whole: bool, width: int
) -> Signals:
    """Normal numbers, or small whole ones whose gradients have many ties and are exact; some neurons are silent."""
    columns = []
    for n in shape[::-1]:
        shape_of_layer = (n, padded_columns(n_samples))
        values = rng.integers(-2, 3, shape_of_layer) if is_whole else rng.standard_normal(shape_of_layer)
        array = values * (1 + 3 * rng.random((n, 1)) ** 4).round(2 if not is_whole else 0)
        array[rng.random(n) < 0.1] = 0
        columns.append(array.astype(np.float32))
    source, delta = columns
    delta[:, n_samples:] = 0  # beyond the batch, inputs hold whatever there is
    return Signals(Tiles.of(source, width), Tiles.of(delta, width), n_samples)


@pytest.fixture
def make_view() -> Callable[..., LayerView]:
    """Make a layer with random weights, some of them equal."""

    def make(
        shape: tuple[int, int] = (37, 53),
        density: float = 0.1,
        *,
        n_samples: int = 21,
        n_target: int | None = None,
        seed: int = 1,
        is_whole: bool = False,
        width: int = machine.WIDTHS[-1],
    ) -> LayerView:
        rng = np.random.default_rng(seed)
        topology = Topology.random(shape, density, np.uint64(seed))
        weight = rng.standard_normal(topology.n_connections).astype(np.float32).round(2)
        momentum = rng.standard_normal(topology.n_connections).astype(np.float32)
        signals = make_signals(shape, n_samples, rng, is_whole=is_whole, width=width)
        n = topology.n_connections if n_target is None else n_target
        return LayerView(topology, weight, momentum, n, np.random.default_rng(seed + 7), signals)

    return make


@pytest.fixture
def make_network() -> Callable[..., NetworkView]:
    """Put layers together, with an output layer that has every connection."""

    def make(*views: LayerView, drop_fraction: float = 0.3, keeps_sizes: bool = False) -> NetworkView:
        n_last = views[-1].topology.shape[0]
        output = Topology.random((3, n_last), 1.0, np.uint64(0))
        return NetworkView(tuple(views), output, drop_fraction, keeps_sizes)

    return make


@pytest.fixture
def dense_gradient() -> Callable[[LayerView], np.ndarray]:
    """The gradient at every pair of neurons, float64[n_out, n_in]."""

    def gradient(view: LayerView) -> np.ndarray:
        n = view.signals.n_samples
        delta, source = (each.matrix()[:, :n].astype(np.float64) for each in (view.signals.delta, view.signals.source))
        return delta @ source.T

    return gradient
