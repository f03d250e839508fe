"""State in a checkpoint, and the check that all ranks mean the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hpc_sparse.dtypes import AnyArray, Float32Array, Float64Array, Int32Array
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.front_end import DEVIATION, MEAN


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after ``epoch`` epochs and ``step_in_epoch`` steps of the next one.

    Equal on all ranks, apart from ``layers``, ``replica`` and the rows of ``progress``.

    Attributes
    ----------
    config_text : str
        The complete configuration.
    epoch, step : int
        Epochs and optimiser steps done.
    n_ranks : int
        Ranks of the run that wrote it.
    layers : tuple of LayerState
        Layers from the input to the output: the network of all ranks, or this rank's own; () if it has none.
    metrics : dict
        Metrics of the last epoch.
    history_best : (epoch, value) or None
        Best epoch so far and its accuracy on the validation part, or on the test part if there is none.
    front_end : dict of array
        Arrays of the front ends by ``front end/array``. They cover all features, also those whose input neurons were
        removed.
    neuron_ids : tuple of int32[width] or None
        Original numbers of surviving neurons, increasing, per layer of neurons, inputs first. None for a layer without
        removals, () if no layer has any. The same for all replicas.
    replica : int or None
        None if all ranks have the same network. Else the number, from 0 on, of the replica whose layers these
        are, or :data:`~hpc_sparse.storage.checkpoint.replicas.NO_REPLICA` on a rank that has none.
    target_connections : tuple of int
        Weights that each of the connections is brought back to when replicas are averaged; () if not decided yet.
    step_in_epoch : int
        Steps done of the epoch after ``epoch``.
    progress : float64[n_ranks, n] or None
        Running sums of that epoch, by rank. On as many ranks, writing takes from each its own row only.
    progress_names : tuple of str
        Names of the sums, one per column.
    tile_width : int
        Columns of a tile of activations, by which gradients are added up; 0 in files that do not tell.
    instructions : str
        Vector instructions of this rank, in a file those of all ranks; "" in files that do not tell.
    """

    config_text: str
    epoch: int
    step: int
    n_ranks: int
    layers: tuple[LayerState, ...]
    metrics: dict[str, float]
    history_best: tuple[int, float] | None
    front_end: Mapping[str, AnyArray] = field(default_factory=dict)
    neuron_ids: tuple[Int32Array | None, ...] = ()
    replica: int | None = None
    target_connections: tuple[int, ...] = ()
    step_in_epoch: int = 0
    progress: Float64Array | None = None
    progress_names: tuple[str, ...] = ()
    tile_width: int = 0
    instructions: str = ""

    @property
    def mean(self) -> Float32Array | None:
        """float32[n_features]: means of dense training features."""
        return self.front_end.get(MEAN)

    @property
    def deviation(self) -> Float32Array | None:
        """float32[n_features]: their deviations."""
        return self.front_end.get(DEVIATION)


def assert_same_checkpoint(ctx: ParallelContext, checkpoint: Checkpoint) -> None:
    """Assert that the ranks mean the same checkpoint; else parallel HDF5 would wait for ever (collective)."""
    arrays = (checkpoint.progress, *checkpoint.neuron_ids)
    shared = (
        [checkpoint.epoch, checkpoint.step, checkpoint.step_in_epoch, checkpoint.n_ranks, checkpoint.tile_width],
        [checkpoint.history_best, checkpoint.target_connections, *checkpoint.metrics, *checkpoint.progress_names],
        [None if array is None else array.shape for array in arrays],
        [(name, checkpoint.front_end[name].shape) for name in sorted(checkpoint.front_end)],
    )
    gathered = gather_objects(ctx, (shared, [len(layer.connections) for layer in checkpoint.layers]))
    for rank, (other, _) in enumerate(gathered):
        assert other == shared, f"rank {rank} writes a checkpoint of {other}, rank {ctx.rank} of {shared}"
    n_layers, n_connections = max((len(counts), sum(counts)) for _, counts in gathered)
    targets, ids = checkpoint.target_connections, checkpoint.neuron_ids
    assert len(targets) in {0, n_connections}, (targets, n_connections)
    assert len(ids) in {0, n_layers + 1}, (len(ids), n_layers)
    n_sums = 0 if checkpoint.progress is None else checkpoint.progress.shape[1]
    assert len(checkpoint.progress_names) == n_sums, (checkpoint.progress_names, n_sums)
