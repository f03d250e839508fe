"""Training rate against the number of connections, to see whether the cost per connection stays constant."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import report
from benchmarks import workload as w
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles

FAN_IN = 40
N_HIDDEN = 3
N_INPUTS, N_OUTPUTS = 784, 10
SIZES = (10**5, 10**6, 10**7, 10**8)


def measure_scaling(n_threads: int, n_rounds: int, largest: int, picture: Path | None, *, as_json: bool) -> None:
    """Print the training rate of networks of 10^5 connections and up; about 40 connections per neuron."""
    use_threads(n_threads)
    rows = [_measure(size, n_rounds) for size in SIZES if size <= largest]
    if picture is not None:
        _draw(rows, picture)
    report.show(f"cost per connection, batch {w.BATCH}, {n_threads} threads", rows, [], as_json=as_json)


def _measure(n_connections: int, n_rounds: int) -> dict[str, object]:
    width = max(FAN_IN, n_connections // (FAN_IN * N_HIDDEN))
    widths = [N_INPUTS, *[width] * N_HIDDEN, N_OUTPUTS]
    densities = [min(1.0, FAN_IN / n_in) for n_in in widths[:-1]]
    network = Network.random(widths, densities, activation="all_relu", alpha=0.6, initializer="he_fan_in", seed=0)
    workspace, replica = network.make_workspace(w.BATCH), Replica.at_rest(network)
    rng = np.random.default_rng(0)
    batch = Tiles.of(rng.standard_normal((N_INPUTS, w.BATCH), np.float32), network.tile_width)
    labels = rng.integers(0, N_OUTPUTS, w.BATCH).astype(np.int32)
    dropouts = [Dropout(w.DROPOUT, np.uint64(layer)) for layer in range(N_HIDDEN)]
    seconds = []
    for _ in range(n_rounds + 1):
        started = time.perf_counter()
        replica.train_batch(batch, labels, CrossEntropy(), dropouts, Sgd(0.9), 1e-4, workspace)
        seconds.append(time.perf_counter() - started)
    step = median(seconds[1:])
    moved = sum(_bytes_moved(layer.topology.n_connections) for layer in network.layers)
    return {
        "connections": network.n_connections,
        "neurons": network.n_neurons,
        "ms per step": step * 1e3,
        "connections x samples / s": network.n_connections * w.BATCH / step,
        "GB/s if nothing were cached": moved / step / 1e9,
    }


def _bytes_moved(n_connections: int) -> float:
    """Each of the three passes reads a batch row of 4 bytes a sample per connection, and the connection's own state."""
    return n_connections * (3 * 4 * w.BATCH + 3 * 8 + 12)


def _draw(rows: list[dict[str, object]], picture: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    x = [row["connections"] for row in rows]
    y = [row["connections x samples / s"] for row in rows]
    axes.loglog(x, y, "o-", label="training step (forward, backward, update)")
    for limit, label in _rooflines():
        axes.axhline(limit, linestyle="--", color="0.5")
        axes.annotate(label, (x[0], limit), xytext=(0, 3), textcoords="offset points", fontsize=8)
    axes.set_xlabel("connections")
    axes.set_ylabel("connections x samples / s")
    axes.set_ylim(2e8, 1e11)
    axes.set_title(f"Training rate, batch {w.BATCH}, about {FAN_IN} connections per neuron")
    axes.legend()
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(picture, dpi=130)


def _rooflines() -> list[tuple[float, str]]:
    """Rates at which a step would run if it were limited by arithmetic or by memory alone, as measured here."""
    a = np.ones((2048, 2048), np.float32)
    product = min(_timed(lambda: a @ a) for _ in range(5))
    table = np.ones((1 << 20, w.BATCH), np.float32)
    chosen = np.random.default_rng(0).permutation(1 << 20)
    gather = min(_timed(lambda: table.take(chosen, 0)) for _ in range(3))
    return [
        (2 * 2048**3 / product / 6, "arithmetic: dense matrix product (6 flops per connection and sample)"),
        (table.size / gather / 3, "memory: random gather of batch rows, one thread (3 rows per connection)"),
    ]


def _timed(run) -> float:  # type: ignore[no-untyped-def]
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
