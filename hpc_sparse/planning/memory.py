"""Memory of one rank while it trains, item by item, as the arrays of the program are.

Counted are the arrays that grow with the network, the batch or the data. Tests compare the counts with the arrays
themselves: a change of an array needs a change of its line here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import HIDDEN_VALUES, INDEX, OFFSET, VALUE
from hpc_sparse.evolution import make_updater, needs_samples, state_arrays, state_types
from hpc_sparse.inputs.batches import batch_bytes
from hpc_sparse.inputs.chain import planned_bytes
from hpc_sparse.kernels.simd.buffers import padded_columns
from hpc_sparse.network.connections.reserve import ALL_ACT
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.tiles import MOST_PARTS
from hpc_sparse.planning import phases
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.planning.parts import part_of, shared_items
from hpc_sparse.storage.dataset.samples import DatasetInfo
from hpc_sparse.storage.dataset.validation import count_validation

PROGRAM_BYTES = 210 * 10**6
"""Python, its libraries and the compiled kernels. Measured."""

MPI_BYTES = 15 * 10**6
"""More where MPI has been started: its library and the memory that the ranks of a node share. Measured."""


@dataclass(frozen=True)
class MemoryItem:
    """Something that takes memory: which part of the program has it, what it is, how much."""

    group: str
    name: str
    n_bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """Memory of one rank.

    Attributes
    ----------
    items : tuple of MemoryItem
        Memory that is held all the time while it trains.
    peaks : dict of str to int
        The most bytes that it takes in each phase of a run, everything included.
    """

    items: tuple[MemoryItem, ...]
    peaks: dict[str, int]

    @property
    def resident(self) -> int:
        """Bytes that are there all the time."""
        return sum(item.n_bytes for item in self.items)

    @property
    def peak(self) -> int:
        """The most bytes at any time."""
        return max(self.peaks.values())

    @property
    def allocated(self) -> int:
        """Bytes that a process which has just started will ask for."""
        return self.peak - sum(item.n_bytes for item in self.items if item.group == "program")

    def by_group(self) -> dict[str, int]:
        """Bytes of each group of items."""
        groups: dict[str, int] = {}
        for item in self.items:
            groups[item.group] = groups.get(item.group, 0) + item.n_bytes
        return groups


def plan_memory(config: RunConfig, size: NetworkSize, info: DatasetInfo, n_ranks: int) -> MemoryPlan:
    """Memory of the rank of a run that needs the most.

    Parameters
    ----------
    config : RunConfig
    size : NetworkSize
        Size of the network that the run begins with.
    info : DatasetInfo
    n_ranks : int
        All ranks, those that hold one network together included.
    """
    whole, n_parts = size, config.parallel.model
    size, program = part_of(whole, n_parts), PROGRAM_BYTES + (MPI_BYTES if n_ranks > 1 else 0)
    n_ranks = max(1, n_ranks // n_parts)  # from here on: replicas, each with a shard
    stride = padded_columns(config.training.batch_size)
    items = (
        *_network_items(config, size),
        *_working_items(config, size, stride, info.n_features, _batch_sizes(config, info, n_ranks)),
        *_acting_items(config, size),
        *(MemoryItem("parts", name, n_bytes) for name, n_bytes in shared_items(config, whole, n_parts)),
        *_parallel_items(config, size, n_ranks),
        *_data_items(config, info, n_ranks),
        MemoryItem("program", "program and libraries", program),
    )
    resident = sum(item.n_bytes for item in items)
    network = sum(item.n_bytes for item in items if item.group == "network")
    before = sum(item.n_bytes for item in items if item.group in {"data", "program"})
    peaks = {
        "construction": before
        + max(
            phases.construction_bytes(config.network, whole) if n_parts == 1 else 0,
            network + _whole_layer_bytes(config, whole, n_parts),
            network + phases.choosing_bytes(config, size, info.n_features),
        ),
        "training": resident,
        "evolution": resident + phases.evolution_bytes(config, size, info.n_features),
        "sync": resident + (phases.sync_bytes(config, size, n_ranks) if n_ranks > 1 else 0),
        "checkpoint": resident + phases.checkpoint_bytes(config, size, n_ranks),
    }
    return MemoryPlan(items, peaks)


def shard_bytes(info: DatasetInfo, n_ranks: int) -> int:
    """Samples and labels of both parts that the rank with most of them holds."""
    if info.is_sparse:
        # The file holds hardly anything else, as the program has it.
        return -(-info.file_bytes // n_ranks)
    n_samples = -(-info.n_train // n_ranks) - (-info.n_test // n_ranks)
    n_labels = (info.time_steps if info.has_step_labels else 1) + info.has_lengths
    return n_samples * (info.n_features * np.dtype(info.dtype).itemsize + n_labels * _bytes(INDEX))


def _network_items(config: RunConfig, size: NetworkSize) -> list[MemoryItem]:
    structure, weights, n_parameters = Counter[str](), 0, 0
    for layer in size.layers:
        n_parameters += layer.n_parameters
        for each in layer.each_map:
            structure.update(each.n_bytes.structure)
            weights += each.n_bytes.weights
    # The backward pass needs it, which does not go below the first layer.
    transposed = sum(each.n_bytes.transposed for layer in size.layers for each in layer.each_map)
    first = size.layers[0].each_map[0]
    transposed -= first.n_bytes.transposed
    if size.n_tokens:
        transposed += 2 * first.n_connections * _bytes(INDEX) + size.n_tokens * _bytes(OFFSET)
    return [
        *(MemoryItem("network", name, n_bytes) for name, n_bytes in structure.items()),
        MemoryItem("network", "weights", weights),
        MemoryItem("network", "biases", n_parameters * _bytes(VALUE) - weights),
        *_state_items(config, weights // _bytes(VALUE), n_parameters),
        MemoryItem("network", "connections by input neuron", transposed),
    ]


def _whole_layer_bytes(config: RunConfig, size: NetworkSize, n_parts: int) -> int:
    """The largest layer of a network, from which a rank takes its part: as it is drawn, or read with its states."""
    if n_parts == 1:
        return 0
    layers = [NetworkSize((layer,)) for layer in size.layers]
    drawn = max(phases.construction_bytes(config.network, each) for each in layers)
    read = max(sum(each.n_bytes for each in _network_items(config, own)) for own in layers)
    return max(drawn, read)


def _state_items(config: RunConfig, n_weights: int, n_parameters: int) -> Iterator[MemoryItem]:
    """State arrays of the optimiser; those of weights may be narrower than those of biases."""
    types = state_types(config)
    for name, described in state_arrays(config).items():
        kind, of_biases = types[name], (n_parameters - n_weights) * _bytes(VALUE)
        ending = "" if kind is VALUE else " (bfloat16)"
        yield MemoryItem("network", described + ending, n_weights * _bytes(kind) + of_biases)


def _batch_sizes(config: RunConfig, info: DatasetInfo, n_ranks: int) -> set[int]:
    """Samples of the batches of an epoch: of a whole one, and what is left of a shard at the end."""
    n_train, n_batch = (
        info.n_train - count_validation(info, config.data.validation_fraction),
        config.training.batch_size,
    )
    n_shards = n_ranks if config.parallel.algorithm == "local_sgd" else max(1, n_ranks - 1)
    shards = {n_train // n_shards, -(-n_train // n_shards)}
    return {min(n_batch, max(shards)), *(shard % n_batch for shard in shards)}


def _working_items(
    config: RunConfig, size: NetworkSize, stride: int, n_features: int, batch_sizes: set[int]
) -> list[MemoryItem]:
    hidden = HIDDEN_VALUES[config.training.activations]
    n_columns = [layer.n_out * layer.places_out * stride for layer in size.layers]
    n_hidden, n_outputs = sum(n_columns[:-1]), 2 * n_columns[-1]  # sums and deltas of the output layer
    n_placed = n_features * stride if size.n_places > 1 else 0
    return [
        MemoryItem("working", "activations and deltas", n_hidden * _bytes(hidden) + n_outputs * _bytes(VALUE)),
        MemoryItem("working", "records of activations", sum(layer.saved_bytes(stride) for layer in size.layers[:-1])),
        MemoryItem("working", "gradients of one layer", _gradient_bytes(config, size, batch_sizes)),
        *_adjoint_items(size),
        MemoryItem("working", "batch of samples", batch_bytes(n_features, stride) + n_placed * _bytes(VALUE)),
    ]


def _adjoint_items(size: NetworkSize) -> list[MemoryItem]:
    """The weights of a layer's connections from its own state, in the order of the backward pass."""
    n_most = max((each.n_connections for layer in size.layers for each in layer.maps[1:]), default=0)
    return [MemoryItem("working", "weights of the backward pass", n_most * _bytes(VALUE))] if n_most else []


def _gradient_bytes(config: RunConfig, size: NetworkSize, batch_sizes: set[int]) -> int:
    """The gradients of the layer with most of them that are written, or of all, and what a step from them takes."""
    optimizer, (first, *later) = make_optimizer(config), [each for layer in size.layers for each in layer.each_map]
    is_tiled = size.n_places > 1 or any(phases.fills_several_tiles(n_samples, size) for n_samples in batch_sizes)
    # For several tiles, weights and gradients are brought into the order in which deltas are passed on.
    passing = max((each.n_connections * each.n_copies(is_tiled=is_tiled) for each in later), default=0)
    if config.optimizer.clip_norm is not None:
        largest = max(layer.n_parameters for layer in size.layers)
        return (size.n_parameters + (passing if is_tiled else 0)) * _bytes(VALUE) + optimizer.step_bytes(largest)
    if optimizer.is_fused:
        # The first layer passes no deltas on: gradients of a single tile are used as soon as they are there.
        n_parts = max(phases.first_gradient_parts(n_samples, size) for n_samples in batch_sizes)
        if size.n_places > 1:
            n_parts = max(n_parts, size.n_places if size.n_places <= MOST_PARTS else 1)
        return max(passing, first.n_written(n_parts) * first.n_connections) * _bytes(VALUE)
    largest = max(layer.n_parameters for layer in size.layers)
    return max(passing, largest) * _bytes(VALUE) + optimizer.step_bytes(largest)


def _acting_items(config: RunConfig, size: NetworkSize) -> list[MemoryItem]:
    """The weights that act in all hidden layers, from forward to backward pass, and room to choose those of one."""
    if make_updater(config.evolution).acting_share == ALL_ACT:
        return []
    hidden = [layer.n_connections for layer in size.layers[:-1]]
    n_at_once = max((sum(hidden[: number + 1]) + own for number, own in enumerate(hidden)), default=0)
    return [MemoryItem("working", "weights that act", n_at_once * _bytes(VALUE))]


def _parallel_items(config: RunConfig, size: NetworkSize, n_ranks: int) -> list[MemoryItem]:
    if n_ranks == 1:
        return []
    parallel, vector = config.parallel, size.n_parameters * _bytes(VALUE)
    if parallel.algorithm != "local_sgd":
        # A worker's gradients; the server has one, and a copy of the parameters that it evaluates.
        return [MemoryItem("exchange", "gradients of all layers", 2 * vector)]
    if parallel.overlap:
        # Parameters and states as they were, as they travel, and the MPI library's own room for them.
        n_arrays = 1 + len(state_arrays(config))
        return [MemoryItem("exchange", "average under way", 3 * n_arrays * vector)]
    if parallel.replica_topology == "independent" and make_updater(config.evolution).changes_topology:
        maps = [each for layer in size.layers for each in layer.each_map]
        n_bytes = sum(each.n_units + each.n_out for each in maps) * _bytes(INDEX)
        return [MemoryItem("exchange", "connections of the last sync", n_bytes)]
    return []


def _data_items(config: RunConfig, info: DatasetInfo, n_ranks: int) -> list[MemoryItem]:
    n_validation = count_validation(info, config.data.validation_fraction)
    order = -(-(info.n_train - n_validation) // n_ranks) * _bytes(OFFSET)
    front_ends = planned_bytes(config, info, padded_columns(config.training.batch_size))
    items = [MemoryItem("data", "samples", shard_bytes(info, n_ranks) + order + front_ends)]
    if n_validation:
        # Beside the shard, in whose arrays the samples to train on have moved together; a server has them all.
        n_holders = n_ranks if config.parallel.algorithm == "local_sgd" else 1
        share = n_validation / (info.n_train + info.n_test)
        items.append(MemoryItem("data", "validation samples", round(share * shard_bytes(info, 1) / n_holders)))
    if needs_samples(config):
        share = min(1.0, config.evolution.growth_pool / (info.n_train + info.n_test))
        items.append(MemoryItem("data", "samples that guide growth", round(share * shard_bytes(info, 1))))
    return items


def _bytes(dtype: type[np.generic]) -> int:
    return np.dtype(dtype).itemsize
