"""The topologies that checkpoints hold, with the names people know them by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hpc_sparse.evolution  # noqa: F401  (configurations choose from the strategies that it loads)
from hpc_sparse.analysis.topologies import in_original_numbers
from hpc_sparse.config import parse_config
from hpc_sparse.dtypes import Int32Array
from hpc_sparse.errors import FileFormatError, InputError
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.registry import connections_of
from hpc_sparse.parallel.collectives import collective_errors
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_replicas
from hpc_sparse.storage.checkpoint.state import Checkpoint


@dataclass(frozen=True)
class StoredTopology:
    """The connections of one network of a checkpoint.

    Attributes
    ----------
    name : str
        The file, and the replica if it holds several.
    epoch : int
    topologies : tuple of Topology
        As stored, from the input to the output: without neurons that were removed.
    neuron_ids : tuple of (int32[width] or None)
        Original numbers of the neurons, one per layer of neurons; None if none was removed.
    original_widths : tuple of int
        Neurons per layer before any was removed; for the inputs a lower bound.
    """

    name: str
    epoch: int
    topologies: tuple[Topology, ...]
    neuron_ids: tuple[Int32Array | None, ...]
    original_widths: tuple[int, ...]

    @property
    def widths(self) -> list[int]:
        """Neurons per layer, from the input to the output."""
        return [self.topologies[0].shape[1], *(topology.shape[0] for topology in self.topologies)]

    @property
    def n_connections(self) -> int:
        """Connections of all layers."""
        return sum(topology.n_connections for topology in self.topologies)

    def original(self, n_inputs: int = 0) -> list[Topology]:
        """The topologies in the numbers of the first network; removed neurons are there without connections.

        ``n_inputs`` is a lower bound for the inputs, since a checkpoint may not store how many were removed.
        """
        first = max(n_inputs, self.original_widths[0]) if self.has_lost_inputs else self.original_widths[0]
        return in_original_numbers(self.topologies, self.neuron_ids, (first, *self.original_widths[1:]))

    @property
    def has_lost_inputs(self) -> bool:
        """Whether inputs were removed."""
        return self.neuron_ids[0] is not None


def read_topologies(path: Path, replica: int | None = None) -> list[StoredTopology]:
    """The networks of a checkpoint, or the one of them that is asked for.

    Where all ranks have the same network, it is that of every replica.

    Raises
    ------
    InputError
        The file is not a sound checkpoint, or has no such replica.
    """
    checkpoints = read_replicas(path)
    n_replicas = sum(checkpoint.replica is not None for checkpoint in checkpoints)
    if n_replicas and replica is not None:
        if not 0 <= replica < n_replicas:
            raise InputError(f"--replica {replica}: {path} holds replicas 0 to {n_replicas - 1}")
        checkpoints = checkpoints[replica : replica + 1]
    return [_stored(path, checkpoint) for checkpoint in checkpoints]


def read_one_topology(path: Path, replica: int | None = None) -> StoredTopology:
    """The network of a checkpoint.

    Raises
    ------
    InputError
        As for :func:`read_topologies`; or there are several and none was chosen.
    """
    found = read_topologies(path, replica)
    if len(found) > 1:
        raise InputError(f"{path}: holds {len(found)} replicas that differ: choose one with --replica 0 and so on")
    return found[0]


def read_all_topologies(
    ctx: ParallelContext, paths: Sequence[Path], replica: int | None = None
) -> list[StoredTopology]:
    """All networks of some checkpoints, on every rank (collective).

    Raises
    ------
    InputError
        On every rank: as for :func:`read_topologies`.
    """
    with collective_errors(ctx, "reading checkpoints"):
        return [network for path in paths for network in read_topologies(path, replica)]


def in_common_numbers(networks: Sequence[StoredTopology]) -> list[list[Topology]]:
    """The networks in their original numbers, so that what they have lost is no hindrance to comparing them."""
    n_inputs = max(network.original_widths[0] for network in networks)
    return [network.original(n_inputs) for network in networks]


def _stored(path: Path, checkpoint: Checkpoint) -> StoredTopology:
    name = str(path) if checkpoint.replica is None else f"{path} replica {checkpoint.replica}"
    for number, layer in enumerate(checkpoint.layers):
        if [each.shape for each in layer.connections.values()] != [layer.shape]:
            raise InputError(
                f'{path}: layer {number} is of the kind "{layer.kind}", with connections '
                f"{' and '.join(layer.connections)}: expected layers with one map from the neurons below"
            )
    topologies = tuple(connections_of(layer)[INPUT].pairs() for layer in checkpoint.layers)
    neuron_ids = checkpoint.neuron_ids or (None,) * (len(topologies) + 1)
    widths = _original_widths(path, checkpoint, topologies, neuron_ids)
    return StoredTopology(name, checkpoint.epoch, topologies, neuron_ids, widths)


def _original_widths(
    path: Path, checkpoint: Checkpoint, topologies: Sequence[Topology], neuron_ids: Sequence[Int32Array | None]
) -> tuple[int, ...]:
    now = [topologies[0].shape[1], *(topology.shape[0] for topology in topologies)]
    if all(ids is None for ids in neuron_ids):
        return tuple(now)
    hidden = parse_config(checkpoint.config_text, f"configuration stored in {path}").network.hidden
    n_features = now[0] if checkpoint.mean is None else checkpoint.mean.size
    widths = [n_features, *hidden, now[-1]]
    if len(widths) != len(now):
        raise FileFormatError(f"{path}: {len(now)} layers of neurons: the stored configuration has {len(widths)}")
    for number, (ids, width) in enumerate(zip(neuron_ids, widths, strict=True)):
        if ids is None and now[number] != width:
            raise FileFormatError(f"{path}: {now[number]} neurons in layer {number}: expected {width}, none is removed")
        if ids is not None and number and ids[-1] >= width:
            raise FileFormatError(f"{path}: neuron {ids[-1]} in layer {number}: must be < {width}, its original width")
    if (inputs := neuron_ids[0]) is not None:
        widths[0] = max(widths[0], int(inputs[-1]) + 1)
    return tuple(widths)
