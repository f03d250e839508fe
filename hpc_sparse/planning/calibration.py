"""Cost of a network on this machine: measured whole if it is small, else on smaller layers of the same kinds.

The cost per connection and sample grows with the distance of the neurons' rows from the processor. Layers are therefore
measured with rows larger than any cache, at their connections per neuron and their place in the network. The cost of a
step is then constant between 5 and 50 million neurons (tools/results/scale.md); that of a change of the topology still
grows, slowly.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import HIDDEN_VALUES
from hpc_sparse.kernels.simd.buffers import padded_columns
from hpc_sparse.kernels.simd.machine import tile_width
from hpc_sparse.planning.network_size import LayerSize, NetworkSize
from hpc_sparse.planning.probe import LayerPlace, Seconds, time_layer, time_network

PROBE_ROW_BYTES = 128 * 10**6
"""Bytes of the rows on the wider side of a measured layer: larger than the caches, yet measured within a second."""

PROBE_CONNECTIONS = 4_000_000
"""Most connections of a measured layer, or of a network that is measured whole."""

NARROW = 100_000
"""Sides of a layer up to this width are measured as they are."""

GROWTH = Seconds(construct=0.0, step=0.0, forward=0.0, evolve=0.1)
"""Exponents: cost per connection grows with this power of the size beyond what was measured."""

TINY = LayerSize(64, 64, 512)


@dataclass(frozen=True)
class Calibration:
    """Measured times.

    Attributes
    ----------
    seconds : Seconds
        Times of the whole network.
    n_measured : int
        Connections of what was measured; those of the network if it was measured whole.
    """

    seconds: Seconds
    n_measured: int


def calibrate(config: RunConfig, size: NetworkSize, n_rounds: int = 5) -> Calibration:
    """Measure for some seconds; kernels are compiled or loaded before the clock runs.

    Expects :func:`hpc_sparse.kernels.threads.use_threads` to have been called.
    """
    _load_kernels(config, size)
    value_bytes = np.dtype(HIDDEN_VALUES[config.training.activations]).itemsize
    row_bytes = value_bytes * padded_columns(config.training.batch_size)
    is_small = size.n_connections <= PROBE_CONNECTIONS and size.n_neurons * row_bytes <= 2 * PROBE_ROW_BYTES
    # Networks that read sequences are measured whole, as their layers cannot be measured one by one.
    if is_small or size.n_places > 1:
        return Calibration(time_network(config, size, n_rounds), size.n_connections)
    kinds = Counter((layer, _place(number, len(size.layers))) for number, layer in enumerate(size.layers))
    total, n_measured, width = Seconds(), 0, size.tile_width
    for (layer, place), n_times in kinds.items():
        measured, factor = smaller_layer(layer, row_bytes)
        seconds = time_layer(config, measured, place, n_rounds, width)
        total += scaled_up(seconds, factor).times(n_times)
        n_measured += measured.n_connections
    return Calibration(total, n_measured)


def smaller_layer(layer: LayerSize, row_bytes: int) -> tuple[LayerSize, float]:
    """A layer of the same kind that can be measured quickly, and how many times larger the real one is.

    Wide sides shrink alike, and the connections with them: each neuron of a wide side keeps as many as it has. Where
    the number of inputs says how many a neuron has, it has fewer, and there may be few neurons.
    """
    widest = max(layer.n_in, layer.n_out)
    factor = max(1.0, widest * row_bytes / PROBE_ROW_BYTES, layer.n_connections / PROBE_CONNECTIONS)
    if widest <= NARROW or factor == 1.0:
        return layer, 1.0
    if layer.section.kind_of_connections.in_groups:
        return _smaller_in_groups(layer, min(layer.n_in, max(NARROW, PROBE_ROW_BYTES // row_bytes)))
    sides = {name: max(NARROW, round(getattr(layer, name) / factor)) for name in ("n_in", "n_out")}
    sides = {name: min(width, getattr(layer, name)) for name, width in sides.items()}
    shrunk = [getattr(layer, name) / width for name, width in sides.items() if width < getattr(layer, name)]
    factor = max(shrunk, default=1.0)
    n_connections = min(math.prod(sides.values()), max(1, round(layer.n_connections / factor)))
    return replace(layer, **sides, n_connections=n_connections), layer.n_connections / n_connections


def _smaller_in_groups(layer: LayerSize, n_in: int) -> tuple[LayerSize, float]:
    """A layer with ``n_in`` inputs, whose number decides on the connections of a neuron, and with few neurons."""
    density = layer.section.kind_of_connections.density_of(layer.section, n_in)
    assert density is not None
    fan_in = round(density * n_in)
    n_out = min(layer.n_out, max(1, PROBE_CONNECTIONS // fan_in))
    return replace(layer, n_in=n_in, n_out=n_out, n_connections=n_out * fan_in), layer.n_connections / (n_out * fan_in)


def scaled_up(seconds: Seconds, factor: float) -> Seconds:
    """Times of a layer ``factor`` times as large as the measured one."""
    growth = Seconds(*(factor ** (1.0 + exponent) for exponent in GROWTH.numbers))
    return seconds.times(growth)


def _place(number: int, n_layers: int) -> LayerPlace:
    if number == 0:
        return "first"
    return "last" if number == n_layers - 1 else "middle"


def _load_kernels(config: RunConfig, size: NetworkSize) -> None:
    places: tuple[LayerPlace, ...] = ("first", "middle", "last")
    for connections, unit, keys in {(layer.connections, layer.unit, layer.keys) for layer in size.layers}:
        tiny = replace(TINY, connections=connections, unit=unit, keys=keys)
        (own,) = tiny.each_map
        tiny = replace(tiny, n_connections=-(-own.n_possible_units // 8) * own.values_per_unit)
        for place in places:
            time_layer(config, tiny, place, 1, tile_width([tiny.n_in]))
        time_network(config, NetworkSize((tiny, TINY)), 1)
