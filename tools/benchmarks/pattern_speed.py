"""Connections in groups of inputs beside as many unstructured ones: time, bytes, and another order of inputs."""

from __future__ import annotations

from statistics import mean, stdev

import numpy as np

from benchmarks import report
from benchmarks.kernel_speed import BOTH, LayerBench
from benchmarks.timing import interleave
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.group_pattern import GroupPattern
from hpc_sparse.network.connections.grouped_index import GroupedIndex
from hpc_sparse.network.connections.input_order import Search, best_order
from hpc_sparse.network.connections.n_of_m import NOfM
from hpc_sparse.network.connections.protocol import ConnectionBytes
from hpc_sparse.network.connections.topology import Topology

PATTERNS = ("26:256", "3:256", "2:4", "1:16")
PASSES = ("forward + dropout", "backward", "gradient + update", BOTH)
N_MATRICES, MATRIX = 20, (128, 64)
"""Random matrices of so many neurons and inputs, on which searches for an order are tried."""


def measure_patterns(width: int, batch: int, n_threads: int, n_rounds: int, *, as_json: bool) -> None:
    """Print time and bytes per connection of each pattern beside unstructured connections, then the searches."""
    use_threads(n_threads)
    rows = [_row(width, batch, pattern, n_rounds) for pattern in PATTERNS]
    notes = [
        "csr of as many random connections / csr of the same connections / n_of_m: the last by the first",
        "bytes per connection: index and weights forward and backward, without the optimiser's",
        f"kernels by {INSTRUCTION_SET.name}; medians of {n_rounds} rounds, interleaved",
    ]
    title = f"patterns, {width:,} x {width:,}, batch {batch}, {n_threads} threads, ps per connection and sample"
    report.show(title, rows, notes, as_json=as_json)
    searches: tuple[Search, ...] = ("channel_swap", "stripes")
    gains = [_gain_of(search) for search in searches]
    neurons, inputs = MATRIX
    notes = [
        f"{N_MATRICES} normal matrices of {neurons} neurons and {inputs} inputs, pattern 2:4",
        "share of what lies between the given order and the larger half of each row",
    ]
    report.show("order of inputs", gains, notes, as_json=as_json)


def _row(width: int, batch: int, text: str, n_rounds: int) -> dict[str, object]:
    pattern = GroupPattern.parse(text)
    benches = {kind: LayerBench(width, pattern.fan_in(width) / width, batch) for kind in ("random", "same", "n_of_m")}
    index = GroupedIndex.random((width, width), pattern, np.uint64(1))
    weight = np.resize(benches["random"].layer.weight, index.position.size)
    benches["same"].layer.incoming = Csr(index.topology(), weight)
    benches["n_of_m"].layer.incoming = NOfM(index, weight.copy())
    for kind in ("same", "n_of_m"):
        benches[kind].restart()
    cases = {f"{name} {kind}": bench.cases()[name] for kind, bench in benches.items() for name in PASSES}
    timings = interleave(cases, n_rounds)
    row: dict[str, object] = {"pattern": text}
    for name in PASSES:
        each = [timings[f"{name} {kind}"].median / bench.layer.weight.size / batch for kind, bench in benches.items()]
        row[name] = _compared([seconds * 1e12 for seconds in each])
    n = index.position.size
    row["bytes"] = _compared([_bytes(kind.n_bytes(width, width, n)) / n for kind in (Csr, NOfM)])
    return row


def _bytes(found: ConnectionBytes) -> int:
    return sum(found.structure.values()) + found.weights + found.transposed


def _compared(values: list[float]) -> str:
    """The values, and the last one by the first."""
    return f"{' / '.join(f'{value:.3g}' for value in values)}: {values[-1] / values[0]:.2f}"


def _gain_of(search: Search) -> dict[str, object]:
    """Mean and deviation over the matrices."""
    n_out, n_in = MATRIX
    complete, gains = Topology.from_keys(MATRIX, np.arange(n_out * n_in)), []
    for seed in range(N_MATRICES):
        weight = np.random.default_rng(seed).standard_normal(MATRIX).astype(np.float32)
        order = best_order(complete, weight.reshape(-1), GroupPattern(2, 4), search)
        before, after, best = _kept(weight, 4), _kept(weight[:, order], 4), _kept(weight, n_in)
        gains.append((after - before) / (best - before))
    return {"search": search, "gain": f"{mean(gains):.1%} ± {stdev(gains):.1%}"}


def _kept(weight: np.ndarray[tuple[int, int], np.dtype[np.float32]], m: int) -> float:
    """Sum of the larger half of each group of ``m``."""
    groups = np.sort(np.abs(weight).reshape(-1, m), axis=1)
    return float(groups[:, m // 2 :].sum(dtype=np.float64))
