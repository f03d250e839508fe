"""Milliseconds and bytes of a training step of a wide network, with velocities in float32 and in bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks import report
from benchmarks.timing import interleave
from hpc_sparse.dtypes import HIDDEN_VALUES
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.dropout import NO_DROPOUT
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.network.workspace import Workspace

N_INPUTS, N_CLASSES = 65_536, 20
"""Word frequencies of the 20 Newsgroups, as the jobs of large networks have them."""

RATE, MOMENTUM = 1e-6, 0.9
FLOAT32, BFLOAT16 = "float32", "bfloat16"


def measure_velocity(
    n: int, n_layers: int, fan_in: float, batch: int, n_threads: int, n_rounds: int, *, as_json: bool
) -> None:
    """Print times of a step of ``n_layers`` layers of ``n`` neurons with about ``fan_in`` connections each."""
    use_threads(n_threads)
    widths = [N_INPUTS, *[n] * n_layers, N_CLASSES]
    densities = [min(1.0, fan_in / n_in) for n_in in widths[:-1]]
    network = Network.random(widths, densities, activation="all_relu", alpha=0.6, initializer="he_fan_in", seed=0)
    workspace = network.make_workspace(batch, activations="bfloat16")
    replicas = {name: Replica.at_rest(network, {"velocity": HIDDEN_VALUES[name]}) for name in (FLOAT32, BFLOAT16)}
    batches = Tiles.empty(N_INPUTS, batch, network.tile_width)
    batches.values[:] = np.random.default_rng(0).standard_normal(batches.values.size, np.float32)
    labels = np.arange(batch, dtype=np.int32) % N_CLASSES
    cases = {name: _step(name, replica, batches, labels, workspace) for name, replica in replicas.items()}
    timings = interleave(cases, n_rounds)
    rows: list[dict[str, object]] = []
    for name, timing in timings.items():
        n_bytes = sum(values.nbytes for state in replicas[name].states for values in state.flat())
        rows.append(
            {
                "velocities": name,
                "bytes": f"{n_bytes:,}",
                "bytes for each connection": f"{n_bytes / network.n_connections:.2f}",
                "step, ms": str(timing.scaled(1e3)),
                "float32 takes, times": f"{timings[FLOAT32].median / timing.median:.3f}",
            }
        )
    notes = [
        f"{network.n_neurons:,} neurons, {network.n_connections:,} connections, batch {batch}, {n_threads} threads",
        f"{INSTRUCTION_SET.name} instructions, tiles of {network.tile_width} columns, activations in bfloat16",
        f"median (least - most) of {n_rounds} rounds, interleaved, of the same network",
    ]
    report.show(f"{n_layers} layers of {n:,} neurons", rows, notes, as_json=as_json)


def _step(
    name: str, replica: Replica, batch: Tiles, labels: np.ndarray[tuple[int], np.dtype[np.int32]], workspace: Workspace
) -> Callable[[], object]:
    sgd, dropouts = Sgd(MOMENTUM, velocity=name), [NO_DROPOUT] * (len(replica.states) - 1)
    number = 0

    def step() -> None:
        nonlocal number
        number += 1
        replica.train_batch(batch, labels, CrossEntropy(), dropouts, sgd.drawing_for(number), RATE, workspace)

    return step
