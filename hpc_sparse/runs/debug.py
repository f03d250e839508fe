"""The debug mode: slow, talkative, and hard on chunk loops."""

from __future__ import annotations

TINY_CHUNK_BYTES = 4096


def enable_debug_mode() -> None:
    """Check bounds in kernels and send and write in tiny chunks; call before anything is compiled."""
    from hpc_sparse import kernels  # noqa: PLC0415

    kernels.use_bounds_checks()
    from hpc_sparse.parallel import collectives  # noqa: PLC0415
    from hpc_sparse.storage.container import hdf5  # noqa: PLC0415

    collectives.CHUNK_BYTES = TINY_CHUNK_BYTES
    hdf5.CHUNK_BYTES = TINY_CHUNK_BYTES
