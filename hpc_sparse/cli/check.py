"""The command ``hpc-sparse check``."""

from __future__ import annotations

from hpc_sparse.cli.display import show
from hpc_sparse.cli.guard import guarded
from hpc_sparse.cli.options import JsonFlag
from hpc_sparse.errors import HpcSparseError
from hpc_sparse.parallel.context import ParallelContext


def check(as_json: JsonFlag = False) -> None:
    """Abilities of this installation: MPI, threads, HDF5 with a collective write, the kernel cache; to paste."""

    def work(ctx: ParallelContext) -> None:
        from hpc_sparse.cli.installation import check_installation

        found = check_installation(ctx)
        if ctx.is_root:
            show(found, as_json=as_json)
        failed = [name.replace("_", " ") for name, value in found.items() if str(value).startswith("failed")]
        if failed:
            raise HpcSparseError(f"check: failed: {', '.join(failed)}")

    guarded(work)
