"""Temporary memory of the phases of a run, beyond the permanent arrays.

Each figure adds up the arrays that exist together at the peak of a phase. Comments name the code that makes them, and
tests compare the figures with real allocations.
"""

from __future__ import annotations

from hpc_sparse.config import NetworkSection, RunConfig
from hpc_sparse.evolution import make_updater, state_arrays, state_bytes
from hpc_sparse.evolution.initial.correlated import MIN_TILE_ROWS, SCORED_ROWS, TILE_BYTES
from hpc_sparse.evolution.initial.saliency import PRODUCTS
from hpc_sparse.evolution.memory import INDEX, KEY, POINTER, POSITION, VALUE, LayerFigures, change_bytes
from hpc_sparse.kernels.simd.buffers import padded_columns
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.densities import source_densities
from hpc_sparse.network.tiles import gradient_parts, width_of_tile
from hpc_sparse.parallel.averaging import BUCKET_ITEMS
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.storage.container.hdf5 import CHUNK_BYTES

DRAWN_KEYS = 28
"""Bytes per connection of a layer whose keys are drawn, sorted until all differ, and taken apart."""

SCORING = {"snip": (35, 9, 0), "grasp": (60, 38, 16 * PRODUCTS)}
"""Bytes per connection of the source network, per neuron and sample, and beyond these, while its connections are
scored. Measured."""

CORRELATING, CORRELATED_SAMPLE = 52, 24
"""Bytes per connection while the most correlated pairs are looked for, and per feature and sample of a batch.
Measured."""


def fills_several_tiles(n_samples: int, size: NetworkSize) -> bool:
    """Whether activations of so many samples are more than one tile in a new network of this size."""
    n_columns = padded_columns(n_samples)
    return int(width_of_tile(0, n_columns, size.tile_width)) < n_columns


def first_gradient_parts(n_samples: int, size: NetworkSize) -> int:
    """Parts of the gradients that a step on so many samples keeps of the first layer: none if they are one tile."""
    n_columns, width = padded_columns(n_samples), size.tile_width
    return gradient_parts(size.widths[0], n_columns, width, VALUE) if fills_several_tiles(n_samples, size) else 0


def construction_bytes(config: NetworkSection, size: NetworkSize) -> int:
    """The new network without the state of its optimiser, and what layers take while they are built one after another.

    Connections are made in network/connections/topology.py and initial_topology.py, weights in initial_weights.py.
    """
    built, worst = 0, 0
    for each in (own for layer in size.layers for own in layer.each_map):
        rows, units = each.n_out, each.n_units
        own = units * INDEX + each.n_connections * VALUE + rows * POINTER
        worst = max(worst, built + own + units * POSITION + rows * 2 * KEY)
        if set(config.initial_topologies) - {"erdos_renyi"}:
            worst = max(worst, built + units * DRAWN_KEYS + rows * 5 * KEY)
        built += own + rows * VALUE
    return worst


def choosing_bytes(config: RunConfig, size: NetworkSize, n_features: int) -> int:
    """While the data choose the initial topology of a network that exists at random (runs/first_topology.py)."""
    settings, stride = config.network, padded_columns(config.evolution.growth_samples)
    if settings.initial_topology == "csti":
        stride, n_in = padded_columns(config.training.batch_size), size.layers[0].n_in
        samples = n_in * stride * CORRELATED_SAMPLE
        n_rows = min(n_in, max(MIN_TILE_ROWS, TILE_BYTES // (8 * n_in)))
        widest = max(layer.n_in for layer in size.layers[:-1])
        scored = SCORED_ROWS * widest * (VALUE + 1) + n_rows * n_in * (8 + VALUE)
        return samples + scored + sum(layer.n_connections for layer in size.layers[:-1]) * CORRELATING
    if settings.initial_topology not in SCORING:
        return 0
    each, neuron, beyond = SCORING[settings.initial_topology]
    densities = source_densities(settings, size.widths)
    n_source = sum(share * layer.n_in * layer.n_out for share, layer in zip(densities, size.layers, strict=True))
    return round(n_source * each) + (n_features + sum(size.widths)) * stride * neuron + beyond


def evolution_bytes(config: RunConfig, size: NetworkSize, n_features: int) -> int:
    """While the topology changes (training/evolution_step.py).

    Strategies that see layers alone change them one after the other. Otherwise all layers' changes are decided first;
    then each new layer replaces its old one.
    """
    changing = [(layer, each) for layer in size.layers[:-1] for each in layer.each_map]
    updater = make_updater(config.evolution)
    samples = _signal_bytes(config, size, n_features) if config.importance_pruning.needs_samples else 0
    if not updater.changes_topology or not changing:
        return samples
    worst, decided, following = 0, 0, 0
    for number, (layer, each) in enumerate(changing):
        figures = LayerFigures(
            each.n_in,
            each.n_out,
            each.n_units,
            config.evolution.first_fraction,
            config.evolution.growth_samples * layer.places,
            fills_several_tiles(config.evolution.growth_samples, size),
        )
        # Layers above the first have an index by input neuron, which is given back first.
        given_back = each.n_bytes.transposed if updater.sees_layers_alone and number else 0
        # Kinds that do not keep a topology make one for whoever asks.
        made = each.n_bytes.topology
        worst = max(worst, decided + made + round(updater.n_bytes(figures)) - given_back)
        if updater.sees_layers_alone:
            new = change_bytes(each.n_out, each.n_units) + VALUE * each.n_connections
            following = max(following, made + new - given_back)
        else:
            decided += made + change_bytes(each.n_out, each.n_units)
    if decided:
        following = decided + VALUE * changing[0][1].n_connections
    signals = _signal_bytes(config, size, n_features) if updater.needs_signals else 0
    return max(worst + signals, following, samples)


def sync_bytes(config: RunConfig, size: NetworkSize, n_ranks: int) -> int:
    """While replicas are averaged (parallel/local_sgd.py); the MPI library makes room for a bucket, too."""
    parallel = config.parallel
    if parallel.algorithm != "local_sgd":
        return 0
    n_arrays = 1 + len(state_arrays(config))
    bucket = 2 * VALUE * min(n_arrays * size.n_parameters, BUCKET_ITEMS)
    if parallel.replica_topology == "shared" or not make_updater(config.evolution).changes_topology:
        return bucket
    grown = config.evolution.first_fraction
    united = 1 + grown * n_ranks
    sparse = [each for layer in size.layers for each in layer.each_map if not each.is_dense]
    n_units, n_values = [each.n_units for each in sparse], sum(each.n_connections for each in sparse)
    # Keys of the union, the own places in it, weights and their states on it, and the last layer's keys being joined.
    placed = sum(n_units) * (KEY * united + KEY) + n_values * (VALUE + state_bytes(config)) * united
    joining = max(n_units, default=0) * KEY * (2 + 3 * united)
    return bucket + round(placed + joining)


def checkpoint_bytes(config: RunConfig, size: NetworkSize, n_ranks: int) -> int:
    """While a checkpoint is written: arrays go to the file as they are, or to the root that writes for all."""
    if n_ranks == 1 or config.runtime.hdf5 == "mpio":
        return 0
    maps = [each for layer in size.layers for each in layer.each_map]
    largest = max(max(each.n_connections * INDEX, each.n_out * POINTER) for each in maps)
    return min(CHUNK_BYTES, -(-largest // n_ranks))


def _signal_bytes(config: RunConfig, size: NetworkSize, n_features: int) -> int:
    """Activations, records and deltas of the samples that guide growth (network/layer_signals.py)."""
    stride, total = padded_columns(config.evolution.growth_samples), 0
    for layer in size.layers:
        n = layer.n_out * stride
        total += n * layer.places_out * 2 * VALUE
        total += max(n * layer.places_out * VALUE // 4, layer.saved_bytes(stride) if layer.maps else 0)
        # Inputs of taps are no neurons: they are copied from these.
        n_read = next(each.n_in for each in layer.each_map if each.name == INPUT)
        total += n_read * layer.places * stride * VALUE if n_read != layer.n_in else 0
    if size.n_tokens:
        # A sample for each token, with all its deltas.
        return total + size.n_tokens * VALUE * (2 * size.n_tokens + 2 * size.layers[0].each_map[0].n_out)
    return total + n_features * stride * VALUE * (2 if size.n_places > 1 else 1)
