"""Speed of each kernel against SciPy's product and the machine's own limits.

In GF/s, counting 2 flops per connection and sample, 4 where deltas and gradients are computed together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.sparse as sp

from benchmarks import report
from benchmarks.timing import Timing, interleave
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.kernels.simd.machine import tile_width
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.connections.initial_topology import Pattern, draw_topology
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.connections.protocol import Gate
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.tiles import Tiles

SHAPES = ((1000, 0.04), (4000, 0.01), (16000, 0.0025), (65536, 0.0005))
BOTH = "backward + gradient + update"
SGEMM_SIZE = 2048
COPY_BYTES = 512 * 1024 * 1024
GATHER_ROWS = 1 << 17


class LayerBench:
    """One n x n layer with everything its passes need, in tiles as a network of such layers has them."""

    def __init__(self, n: int, density: float, batch: int, pattern: Pattern = "erdos_renyi") -> None:
        topology = draw_topology(pattern, (n, n), density, np.uint64(1))
        self.n_flops = 2 * topology.n_connections * batch
        rng = np.random.default_rng(0)
        weight = draw_weights("he_uniform", topology, np.uint64(2))
        self.layer = SparseLayer.of(topology, weight, np.zeros(n, np.float32), 0.6)
        self.restart()
        self.matrix, width = rng.standard_normal((n, batch), np.float32), tile_width([n])
        self.source, self.delta = (
            Tiles.of(values, width) for values in (self.matrix, rng.standard_normal((n, batch), np.float32))
        )
        self.out = self.source.like(n)
        self.record = aligned_empty(n * record_words(self.source.n_columns), np.uint16)
        self.record.fill(0x5555)
        self.dropout = Dropout(0.3, np.uint64(3))
        self.gate = Gate(np.float32(-0.6), self.dropout.scale, self.record)
        self.scipy = sp.csr_matrix((weight, topology.indices, topology.indptr), topology.shape)

    def restart(self) -> None:
        """Make what a step needs beside the layer, whose connections may be others now."""
        scratch = aligned_empty(2 * self.layer.weight.size, np.float32)
        state = OptimizerState.at_rest(self.layer.parameters(), {"velocity": np.float32})
        self.sink = Sgd(0.9).sink(1e-9, state, lambda n: scratch[:n])

    def cases(self) -> dict[str, Callable[[], object]]:
        """The passes by name."""
        layer = self.layer
        return {
            "forward": partial(layer.forward, self.source, self.out),
            "forward + dropout": partial(layer.forward, self.source, self.out, {"record": self.record}, self.dropout),
            "backward": partial(layer.backward, self.delta, self.source, {}, self.gate, None, self.out),
            "gradient + update": partial(layer.backward, self.delta, self.source, {}, None, self.sink, None),
            BOTH: partial(layer.backward, self.delta, self.source, {}, self.gate, self.sink, self.out),
            "SciPy forward": lambda: self.scipy @ self.matrix,
        }


def measure_kernels(batch: int, n_threads: int, n_rounds: int, *, as_json: bool) -> None:
    """Print GF/s of each pass at each shape, and the machine's limits."""
    use_threads(n_threads)
    rows: list[dict[str, object]] = []
    for n, density in SHAPES:
        bench = LayerBench(n, density, batch)
        timings = interleave(bench.cases(), n_rounds)
        row: dict[str, object] = {"layer": f"{n:,} x {n:,}, {density:.2%}"}
        for name, timing in timings.items():
            row[name] = rate(timing, (2 if name == BOTH else 1) * bench.n_flops)
        rows.append(row)
    notes = [
        f"kernels by {INSTRUCTION_SET.name}",
        *machine_limits(n_threads, n_rounds),
        f"median (least - most) of {n_rounds} rounds, interleaved",
    ]
    report.show(f"kernels, batch {batch}, {n_threads} threads, GF/s", rows, notes, as_json=as_json)


def rate(timing: Timing, amount: float) -> str:
    """Amount per second in units of 10^9, median with least and most."""
    least, most = amount / timing.slowest / 1e9, amount / timing.fastest / 1e9
    return f"{amount / timing.median / 1e9:.1f} ({least:.0f} - {most:.0f})"


def machine_limits(n_threads: int, n_rounds: int) -> list[str]:
    """Single-precision matrix product, streaming copy and random gather of 512-byte rows."""
    from threadpoolctl import threadpool_limits

    a = np.ones((SGEMM_SIZE, SGEMM_SIZE), np.float32)
    source, target = np.ones(COPY_BYTES, np.uint8), np.empty(COPY_BYTES, np.uint8)
    table = np.ones((GATHER_ROWS, 128), np.float32)
    chosen = np.random.default_rng(0).permutation(GATHER_ROWS)
    with threadpool_limits(n_threads):
        timings = interleave(
            {
                "product": lambda: a @ a,
                "copy": lambda: np.copyto(target, source),
                "gather": lambda: table.take(chosen, 0),
            },
            n_rounds,
        )
    product = rate(timings["product"], 2 * SGEMM_SIZE**3)
    copy, gather = rate(timings["copy"], 2 * COPY_BYTES), rate(timings["gather"], table.nbytes)
    return [
        f"machine: dense single-precision product {product} GF/s with {n_threads} threads; with one: streaming copy",
        f"{copy} GB/s read + written, random gather of 512-byte rows {gather} GB/s read",
    ]
