"""Writing and reading checkpoints with each back end, against plain files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.timing import interleave
from hpc_sparse.network.network import Network
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.collectives import barrier
from hpc_sparse.parallel.context import start_mpi
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.container.backends import has_parallel_hdf5
from hpc_sparse.training.replica_states import (
    replica_to_states,
)

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = [1000, 200_000, 200_000, 10]
FAN_IN = 50


def measure_files(n_ranks: int, n_rounds: int, *, as_json: bool) -> None:
    """Print MB/s on ``n_ranks`` ranks; starts them itself."""
    if n_ranks > 1 and "OMPI_COMM_WORLD_SIZE" not in os.environ:
        line = f'. jobs/openmpi.sh && exec mpirun -n {n_ranks} "$@"'
        flags = ["--json"] if as_json else []
        command = [sys.executable, "tools/bench", "io", "--ranks", str(n_ranks), "--rounds", str(n_rounds), *flags]
        subprocess.run(["bash", "-c", line, "bash", *command], cwd=ROOT, check=True)
        return
    ctx = start_mpi(threads=1)
    densities = [FAN_IN / n_in for n_in in WIDTHS[:-1]]
    network = Network.random(WIDTHS, densities, activation="relu", alpha=0.0, initializer="he_uniform", seed=0)
    checkpoint = checkpoint_of(network, ctx.size)
    backends = ["serial", *(["mpio"] if has_parallel_hdf5() and ctx.comm is not None else [])]
    folder = Path(tempfile.gettempdir()) / "hpc_sparse-bench"
    if ctx.is_root:
        folder.mkdir(exist_ok=True)
    barrier(ctx)
    cases = {}
    for backend in backends:
        path = folder / f"{backend}.h5"
        cases[f"write, {backend}"] = lambda path=path, backend=backend: write_checkpoint(ctx, path, checkpoint, backend)
        cases[f"read and check, {backend}"] = lambda path=path, backend=backend: read_checkpoint(ctx, path, backend)
    data = np.ones(
        sum(array.nbytes for state in checkpoint.layers for array in state.arrays().values()),
        np.uint8,
    )
    cases["plain file with fsync, root alone"] = lambda: _write_plain(folder / "plain", data) if ctx.is_root else None
    timings = interleave(cases, n_rounds)
    rows: list[dict[str, object]] = [
        {"what": name, "s": t.median, "MB/s": data.nbytes / t.median / 1e6, "least": data.nbytes / t.slowest / 1e6}
        for name, t in timings.items()
    ]
    if ctx.is_root:
        title = f"checkpoint of {network.n_connections:,} connections, {data.nbytes / 1e6:.0f} MB, {ctx.size} ranks"
        report.show(title, rows, [], as_json=as_json)
        for path in folder.iterdir():
            path.unlink()
    barrier(ctx)


def checkpoint_of(network: Network, n_ranks: int) -> Checkpoint:
    """The checkpoint of a new network."""
    states = replica_to_states(Replica.at_rest(network))
    return Checkpoint("", 1, 0, n_ranks, states, {}, None)


def _write_plain(path: Path, data: np.ndarray) -> None:
    with path.open("wb") as file:
        file.write(data.data)
        file.flush()
        os.fsync(file.fileno())
