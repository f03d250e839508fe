"""Size of one part of a network that several ranks hold together: what it has, what it knows of others, what travels.

Expected numbers for connections that are drawn anywhere, with as many for each part. Where c of a layer's connections
lead to the neurons of a part, of M parts, c (1 - 1/M) come from neurons of others, and a neuron of another part is
known where it has at least one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import HIDDEN_VALUES, INDEX, VALUE
from hpc_sparse.errors import ConfigError
from hpc_sparse.evolution import state_bytes
from hpc_sparse.kernels.simd.buffers import padded_columns
from hpc_sparse.planning.network_size import LayerSize, NetworkSize


@dataclass(frozen=True)
class PartSize(NetworkSize):
    """Own neurons of each layer, with their incoming connections.

    Attributes
    ----------
    whole : NetworkSize
    """

    whole: NetworkSize

    @property
    def tile_width(self) -> int:
        """That of the whole network."""
        return self.whole.tile_width


@dataclass(frozen=True)
class Shared:
    """What a part has of other parts, for one layer.

    Attributes
    ----------
    n_mirrors : int
        Weights that lead from own neurons below to those of others.
    n_sources, n_targets : int
        Neurons of others that are known, below and in the layer: rows of activations and of deltas that travel.
    """

    n_mirrors: int
    n_sources: int
    n_targets: int


def check_parts(n_parts: int, widths: list[int]) -> None:
    """Check that each part of a network gets neurons of every layer.

    Raises
    ------
    ConfigError
        A layer has fewer neurons than there are parts.
    """
    for number, width in enumerate(widths[1:]):
        if n_parts > width:
            name = "the output layer" if number == len(widths) - 2 else f"hidden layer {number}"
            raise ConfigError(f"parallel.model = {n_parts}: {name} has {width} neurons: expected at most {width} parts")


def part_of(size: NetworkSize, n_parts: int) -> NetworkSize:
    """The largest of so many parts of a network."""
    if n_parts == 1:
        return size
    return PartSize(tuple(_part(layer, n_parts, number) for number, layer in enumerate(size.layers)), size)


def _part(layer: LayerSize, n_parts: int, number: int) -> LayerSize:
    n_in = -(-layer.n_in // n_parts) if number else layer.n_in  # all ranks have all inputs
    return replace(layer, n_in=n_in, n_out=-(-layer.n_out // n_parts), n_connections=-(-layer.n_connections // n_parts))


def shared_of(size: NetworkSize, n_parts: int) -> list[Shared]:
    """What a part of a network has of the others, for each layer above the first, whose inputs are everywhere."""
    remote, found = 1 - 1 / n_parts, list[Shared]()
    for number, layer in enumerate(size.layers[1:], start=1):
        # An own neuron on the other side is not connected to a neuron of another part.
        apart = 1 - layer.n_connections / (layer.n_in * layer.n_out)
        n_sources = layer.n_in * remote * (1 - apart ** (layer.n_out / n_parts))
        is_last = number == len(size.layers) - 1
        n_targets = layer.n_out * remote * (1 if is_last else 1 - apart ** (layer.n_in / n_parts))
        found.append(Shared(round(layer.n_connections / n_parts * remote), round(n_sources), round(n_targets)))
    return found


def shared_items(config: RunConfig, size: NetworkSize, n_parts: int) -> Iterator[tuple[str, int]]:
    """Name and bytes of what a part keeps beyond its own neurons and connections."""
    if n_parts == 1:
        return
    n_columns, shared = padded_columns(config.training.batch_size), shared_of(size, n_parts)
    value, index, hidden = (
        np.dtype(each).itemsize for each in (VALUE, INDEX, HIDDEN_VALUES[config.training.activations])
    )
    mirrors = sum(each.n_mirrors for each in shared)
    yield "mirrors of weights, and their states", mirrors * (value + state_bytes(config))
    # What travels in a pass of a layer has one buffer for all layers; deltas of the outputs are everywhere anyway.
    rows = max([each.n_sources for each in shared] + [each.n_targets for _, each in _hidden(size, shared)], default=0)
    sent = rows * min(size.tile_width, n_columns)  # a tile at a time
    outputs = 2 * (size.widths[-1] - -(-size.widths[-1] // n_parts)) * value
    yield "rows of other parts, and those on their way", (n_columns * rows + sent) * hidden + n_columns * outputs
    largest = max((each.n_mirrors for each in shared), default=0)
    yield "gradients of mirrors", 3 * largest * value
    known = sum(each.n_sources + each.n_targets for each in shared)
    marks = sum(-(-layer.n_connections // n_parts) for layer in size.layers[1:])
    yield "lists of what travels", 2 * known * index + marks


def step_message_bytes(config: RunConfig, size: NetworkSize, n_parts: int) -> int:
    """Bytes that a rank receives in a step from those that hold a network with it; it sends as many."""
    if n_parts == 1:
        return 0
    n_columns, shared = padded_columns(config.training.batch_size), shared_of(size, n_parts)
    hidden = np.dtype(HIDDEN_VALUES[config.training.activations]).itemsize
    rows = sum(each.n_sources for each in shared) + sum(each.n_targets for _, each in _hidden(size, shared))
    value = np.dtype(VALUE).itemsize
    outputs = round(size.widths[-1] * (1 - 1 / n_parts)) * value
    gradients = sum(each.n_mirrors for each in shared) * value
    return n_columns * (rows * hidden + outputs) + gradients


def _hidden(size: NetworkSize, shared: list[Shared]) -> Iterator[tuple[LayerSize, Shared]]:
    """The layers between the first and that of the outputs."""
    yield from zip(size.layers[1:-1], shared[:-1], strict=True)
