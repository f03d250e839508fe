"""Latency and bandwidth between two ranks, by sending messages back and forth."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SMALL_BYTES, LARGE_BYTES = 8, 32 * 1024 * 1024
N_SMALL, N_LARGE = 500, 15


@dataclass(frozen=True)
class Link:
    """Connection between two ranks.

    Attributes
    ----------
    latency : float
        Seconds until a short message has arrived.
    bandwidth : float
        Bytes per second of a long one, in one direction.
    """

    latency: float
    bandwidth: float


def measure_link() -> Link:
    """Between two ranks of this machine, started with the settings of jobs/openmpi.sh."""
    words = [sys.executable, str(ROOT / "tools" / "scaling_model"), "measure-link"]
    start = ["bash", "-c", '. jobs/openmpi.sh && exec mpirun -n 2 "$@"', "bash", *words]
    printed = subprocess.run(start, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return Link(**json.loads(printed))


def print_link() -> None:
    """Measure as one of two ranks; rank 0 prints."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    assert comm.Get_size() == 2, comm.Get_size()
    rank = comm.Get_rank()

    def there_and_back(buffer: np.ndarray) -> Callable[[], None]:
        def bounce() -> None:
            if rank == 0:
                comm.Send(buffer, 1)
                comm.Recv(buffer, 1)
            else:
                comm.Recv(buffer, 0)
                comm.Send(buffer, 0)

        return bounce

    latency = _median(there_and_back(np.zeros(SMALL_BYTES, np.uint8)), N_SMALL) / 2
    seconds = _median(there_and_back(np.zeros(LARGE_BYTES, np.uint8)), N_LARGE) / 2
    if rank == 0:
        print(json.dumps(asdict(Link(latency, LARGE_BYTES / (seconds - latency)))))


def _median(action: Callable[[], None], n_rounds: int) -> float:
    seconds = []
    for _ in range(n_rounds + 1):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:])
