"""What MPI and the launcher gave this job."""

from __future__ import annotations

import os
from typing import Any

from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext


def describe_mpi(ctx: ParallelContext) -> dict[str, Any]:
    """MPI library, thread level and each rank's place, as plain values (collective)."""
    described: dict[str, Any] = {"mpi": "not started (no launcher)", "mpi_thread_level": "-"}
    if ctx.comm is not None:
        import mpi4py  # noqa: PLC0415
        from mpi4py import MPI  # noqa: PLC0415

        levels = {
            getattr(MPI, f"THREAD_{name}"): name.lower() for name in ("SINGLE", "FUNNELED", "SERIALIZED", "MULTIPLE")
        }
        library = MPI.Get_library_version().splitlines()[0].split(", package")[0].strip().rstrip("\x00")
        described = {"mpi": f"{library}, mpi4py {mpi4py.__version__}", "mpi_thread_level": levels[MPI.Query_thread()]}
    places = gather_objects(ctx, (os.uname().nodename, _core_list(), ctx.threads))
    described["ranks"] = [
        f"{rank} on {node}: cores {cores}, {threads} thread{'s' if threads > 1 else ''}"
        for rank, (node, cores, threads) in enumerate(places)
    ]
    return described


def _core_list() -> str:
    if not hasattr(os, "sched_getaffinity"):
        return "unknown"
    return ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
