"""Milliseconds of a training step by the width of the tiles of activations: what the rule of the machine rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks import report
from benchmarks.timing import interleave
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.simd.machine import L2_BYTES, L3_BYTES, WIDTHS
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles

SIZES = ((1000, 40, 20), (2000, 40, 10), (4000, 40, 5), (16_000, 40, 1), (65_536, 33, 1), (1_000_000, 4, 1))
"""Neurons of each of four layers, connections per neuron, steps per measurement."""

N_CLASSES, RATE = 10, 1e-6


def measure_tiles(batch: int, n_threads: int, n_rounds: int, *, as_json: bool) -> None:
    """Print milliseconds of a step of each network in tiles of every width, the machine's own choice marked."""
    use_threads(n_threads)
    rows: list[dict[str, object]] = []
    for n, fan_in, n_repeats in SIZES:
        network = Network.random(
            [n, n, n, n, N_CLASSES],
            [fan_in / n] * 4,
            activation="all_relu",
            alpha=0.6,
            initializer="he_fan_in",
            seed=0,
        )
        timings = interleave(
            {str(width): _step(replace(network, tile_width=width), batch) for width in WIDTHS}, n_rounds, n_repeats
        )
        row: dict[str, object] = {"neurons of a layer": f"{n:,}, {fan_in} connections each"}
        for width in WIDTHS:
            row[f"{width} columns"] = f"{timings[str(width)].scaled(1e3)}{' *' * (width == network.tile_width)}"
        rows.append(row)
    caches = f"second cache {L2_BYTES >> 10} KiB, last cache {L3_BYTES >> 20} MiB"
    notes = [
        f"{INSTRUCTION_SET.name}, {caches}; * = choice of the machine's rule",
        f"median (least - most) of {n_rounds} rounds, interleaved; SGD with momentum, dropout 0.3",
    ]
    report.show(f"milliseconds of a step, batch {batch}, {n_threads} threads", rows, notes, as_json=as_json)


def _step(network: Network, batch: int) -> Callable[[], object]:
    rng, (n_inputs, *_) = np.random.default_rng(0), network.widths
    samples = Tiles.of(rng.standard_normal((n_inputs, batch), np.float32), network.tile_width)
    labels = rng.integers(0, N_CLASSES, batch).astype(np.int32)
    dropouts = [Dropout(0.3, np.uint64(number)) for number in range(len(network.layers) - 1)]
    replica = Replica.at_rest(network.copy())
    workspace = network.make_workspace(batch)
    return partial(replica.train_batch, samples, labels, CrossEntropy(), dropouts, Sgd(0.9), RATE, workspace)
