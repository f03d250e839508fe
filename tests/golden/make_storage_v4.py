"""Makes the golden checkpoints of format version 4: ``mpirun -n 3 python tests/golden/make_storage_v4.py``.

The content is that of the older golden files, as their programs describe it, and a network of ten layers, whose groups
are nested. The files in this folder were written once and stay as they are.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.context import ParallelContext, start_mpi
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA
from hpc_sparse.storage.checkpoint.state import Checkpoint

FOLDER = Path(__file__).parent
WHOLE_V4 = FOLDER / "checkpoint_v4.h5"
REDUCED_V4 = FOLDER / "checkpoint_v4_reduced.h5"
REPLICAS_V4 = FOLDER / "checkpoint_v4_replicas.h5"
DEEP_V4 = FOLDER / "checkpoint_v4_deep.h5"
N_REPLICAS = 2
N_DEEP = 10


def deep_checkpoint() -> Checkpoint:
    """Ten layers of 2 neurons each, each with one connection, of which layers 0 and 9 have lost neurons."""
    layers = tuple(
        LayerState.sparse(
            shape=(2, 2),
            activation="output" if number == N_DEEP - 1 else "relu",
            indptr=np.array([0, 1, 1], np.int64),
            indices=np.array([number % 2], np.int32),
            weight=np.array([number], np.float32),
            bias=np.array([number, -number], np.float32),
        )
        for number in range(N_DEEP)
    )
    ids = (np.array([0, 3], np.int32), *[None] * (N_DEEP - 2), np.array([1, 2], np.int32), None)
    return Checkpoint("", 1, 2, 1, layers, {}, None, neuron_ids=ids)


def main() -> None:
    """Write all files again: rank 0 serves, the others have replicas."""
    ctx = start_mpi(threads=1)
    assert ctx.size == N_REPLICAS + 1, f"started on {ctx.size} ranks: expected {N_REPLICAS + 1}"
    first, second = (runpy.run_path(str(FOLDER / f"make_storage_v{version}.py")) for version in (1, 2))
    replica = second["replica_checkpoint"](NO_REPLICA if ctx.is_root else ctx.rank - 1)
    write_checkpoint(ctx, REPLICAS_V4, replica, "serial")
    if ctx.is_root:
        alone = ParallelContext.serial(threads=1)
        write_checkpoint(alone, WHOLE_V4, first["checkpoint"](), "serial")
        write_checkpoint(alone, REDUCED_V4, second["reduced_checkpoint"](), "serial")
        write_checkpoint(alone, DEEP_V4, deep_checkpoint(), "serial")


if __name__ == "__main__":
    main()
