"""Makes the golden checkpoints of format version 3 and data sets of version 2, whose checksums know the words' places.

``mpirun -n 3 python tests/golden/make_storage_v3.py``. The content is that of the older golden files, as their programs
describe it. The files in this folder were written once and stay as they are.
"""

from __future__ import annotations

import runpy
from pathlib import Path

from hpc_sparse.parallel.context import ParallelContext, start_mpi
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA
from hpc_sparse.storage.dataset.writer import write_dataset

FOLDER = Path(__file__).parent
REDUCED_V3 = FOLDER / "checkpoint_v3.h5"
REPLICAS_V3 = FOLDER / "checkpoint_v3_replicas.h5"
DENSE_V2 = FOLDER / "dataset_dense_v2.h5"
SPARSE_V2 = FOLDER / "dataset_sparse_v2.h5"
N_REPLICAS = 2


def main() -> None:
    """Write all files again: rank 0 serves, the others have replicas."""
    ctx = start_mpi(threads=1)
    assert ctx.size == N_REPLICAS + 1, f"started on {ctx.size} ranks: expected {N_REPLICAS + 1}"
    first, second = (runpy.run_path(str(FOLDER / f"make_storage_v{version}.py")) for version in (1, 2))
    replica = second["replica_checkpoint"](NO_REPLICA if ctx.is_root else ctx.rank - 1)
    write_checkpoint(ctx, REPLICAS_V3, replica, "serial")
    if ctx.is_root:
        write_checkpoint(ParallelContext.serial(threads=1), REDUCED_V3, second["reduced_checkpoint"](), "serial")
        for path, kind in ((DENSE_V2, "dense"), (SPARSE_V2, "sparse")):
            make = first[f"{kind}_samples"]
            write_dataset(path, make(11), make(5), title="golden", class_names=first["CLASS_NAMES"], overwrite=True)


if __name__ == "__main__":
    main()
