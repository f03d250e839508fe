"""Makes the golden checkpoints of format version 2: ``mpirun -n 3 python tests/golden/make_storage_v2.py``.

The files in this folder were written once by version 2 and stay as they are; this program shows how, and its
functions say what they must be read as.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.context import ParallelContext, start_mpi
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.front_end import statistics_arrays
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA
from hpc_sparse.storage.checkpoint.state import Checkpoint

FOLDER = Path(__file__).parent
REDUCED = FOLDER / "checkpoint_v2.h5"
REPLICAS = FOLDER / "checkpoint_v2_replicas.h5"
N_REPLICAS = 2


def layer(shape: tuple[int, int], rows: list[list[int]], activation: str, first: float) -> LayerState:
    """A layer whose neurons have connections from ``rows``, with numbers from ``first`` on."""
    lengths = [len(row) for row in rows]
    n_connections = sum(lengths)
    return LayerState.sparse(
        shape=shape,
        activation=activation,
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        indices=np.array([index for row in rows for index in row], np.int32),
        weight=(first + np.arange(n_connections) / 4).astype(np.float32),
        bias=(first - np.arange(shape[0]) / 16).astype(np.float32),
        weight_velocity=(np.arange(n_connections) / 32 - first).astype(np.float32),
        bias_velocity=(np.arange(shape[0]) / 64 + first).astype(np.float32),
    )


def reduced_checkpoint() -> Checkpoint:
    """Two layers, 4-3-3, that were 7-5-3, in the middle of an epoch."""
    return Checkpoint(
        config_text='[data]\npath = "weiß.h5"\n',
        epoch=12,
        step=3473,
        n_ranks=3,
        layers=(
            layer((3, 4), [[0, 3], [], [1, 2, 3]], "all_relu", 1.0),
            layer((3, 3), [[0, 1, 2], [2], [0, 1]], "output", -2.0),
        ),
        metrics={"test_accuracy": 0.75, "train_loss": 0.5},
        history_best=(9, 0.8125),
        front_end=statistics_arrays(np.arange(7, dtype=np.float32), np.arange(1, 8, dtype=np.float32)),
        neuron_ids=(np.array([0, 2, 3, 6], np.int32), np.array([1, 2, 4], np.int32), None),
        target_connections=(5, 7),
        step_in_epoch=17,
        progress=np.array([[0.5, 3], [0.25, 4], [0.125, 5]]),
        progress_names=("sum_0", "sum_1"),
    )


def replica_checkpoint(replica: int) -> Checkpoint:
    """The same with the connections of one of two replicas, or with none."""
    layers: tuple[LayerState, ...] = ()
    if replica == 0:
        layers = (
            layer((3, 4), [[], [0, 1, 2, 3], [2]], "all_relu", 3.0),
            layer((3, 3), [[1], [], []], "output", 4.0),
        )
    elif replica == 1:
        layers = (
            layer((3, 4), [[3], [], []], "all_relu", -5.0),
            layer((3, 3), [[0, 1, 2], [0, 1, 2], [2]], "output", -6.0),
        )
    return replace(reduced_checkpoint(), layers=layers, replica=replica)


def main() -> None:
    """Write both files again: rank 0 serves, the others have replicas."""
    ctx = start_mpi(threads=1)
    assert ctx.size == N_REPLICAS + 1, f"started on {ctx.size} ranks: expected {N_REPLICAS + 1}"
    write_checkpoint(ctx, REPLICAS, replica_checkpoint(NO_REPLICA if ctx.is_root else ctx.rank - 1), "serial")
    if ctx.is_root:
        write_checkpoint(ParallelContext.serial(threads=1), REDUCED, reduced_checkpoint(), "serial")


if __name__ == "__main__":
    main()
