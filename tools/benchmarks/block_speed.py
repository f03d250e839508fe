"""Picoseconds per connection and sample by the size of blocks, beside single connections, BLAS, SciPy and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import report
from benchmarks.timing import Timing, interleave
from hpc_sparse.config import LayerSection
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.kernels.simd.machine import tile_width
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.protocol import Connections, Epilogue, Gate
from hpc_sparse.network.connections.registry import random_connections
from hpc_sparse.network.sinks import WriteMap, new_scratch
from hpc_sparse.network.tiles import Tiles

UNITS = ((1, 1), (4, 4), (8, 8), (16, 16), (32, 32), (16, 4), (4, 16))
PASSES = ("product", "both gradients")
SLOPE = np.float32(0.3)


def measure_blocks(n: int, density: float, batch: int, n_rounds: int, *, as_json: bool) -> None:
    """Print the times of a layer of n x n neurons, one thread: forward, and deltas with gradients."""
    use_threads(1)
    with threadpool_limits(1):
        cases, n_values = _all_cases(n, density, batch)
        timings = interleave(cases, n_rounds, 3)
    rows = []
    for name, numbers in n_values.items():
        row: dict[str, object] = {"connections": name, "number": f"{numbers:,}"}
        both = 0.0
        for each in PASSES:
            found = timings.get(f"{name} {each}")
            row[f"{each}, ps"] = "-" if found is None else str(found.scaled(1e12 / numbers / batch))
            both += 0.0 if found is None else found.median / numbers
        has_all = all(f"{name} {each}" in timings for each in PASSES)
        row |= _ratios(timings, n_values, both if has_all else None)
        rows.append(row)
    notes = [
        f"{INSTRUCTION_SET.name} instructions, tiles of {tile_width([n])} columns",
        f"median (least - most) of {n_rounds} rounds, interleaved; picoseconds per connection and sample",
        "dense BLAS: the product of n x n and n x batch numbers, its transpose, and delta x source, for the gradient",
        "of csr: time of both passes by that of csr; of BLAS: rate per connection of both passes by that of BLAS",
    ]
    report.show(f"{n} x {n} neurons, density {density}, batch {batch}, 1 thread", rows, notes, as_json=as_json)


def _all_cases(n: int, density: float, batch: int) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    rng = np.random.default_rng(0)
    source, delta = (rng.standard_normal((n, batch), np.float32) for _ in range(2))
    cases, n_values = dict[str, Callable[[], object]](), dict[str, int]()
    layers: dict[str, Connections] = {"csr": _connections("csr", (1, 1), n, density)}
    layers |= {f"block {r} x {c}": _connections("block", (r, c), n, density) for r, c in UNITS}
    for name, connections in layers.items():
        n_values[name] = connections.weight.size
        cases |= {f"{name} {each}": run for each, run in _passes(connections, source, delta).items()}
    dense = rng.standard_normal((n, n), np.float32)
    n_values["dense BLAS"] = dense.size
    cases["dense BLAS product"] = lambda: dense @ source
    cases["dense BLAS both gradients"] = lambda: (dense.T @ delta, delta @ source.T)
    bsr = layers["block 16 x 16"].to_bsr()  # type: ignore[attr-defined]
    n_values["SciPy BSR 16 x 16"] = n_values["block 16 x 16"]
    cases["SciPy BSR 16 x 16 product"] = lambda: bsr @ source
    cases |= _torch_cases(bsr, source, n_values)
    return cases, n_values


def _connections(kind: str, unit: tuple[int, int], n: int, density: float) -> Connections:
    section = LayerSection(n=n, connections=kind, block=unit if kind == "block" else None)
    return random_connections(LayerBlueprint(0, (n, n), density, "relu", 0.0, "he_fan_in", 0, section=section))


def _passes(connections: Connections, source: np.ndarray, delta: np.ndarray) -> dict[str, Callable[[], object]]:
    n_out, n_in = connections.shape
    width = tile_width([n_in, n_out])
    below, above = Tiles.of(source, width), Tiles.of(delta, width)
    out, deltas = below.like(n_out), above.like(n_in)
    bias, record = np.zeros(n_out, np.float32), np.full(n_in * record_words(below.n_columns), 0x5555, np.uint16)
    room = WriteMap(np.empty_like(connections.weight), np.empty_like(bias), new_scratch)
    gate = Gate(SLOPE, np.float32(1), record)
    return {
        "product": lambda: connections.product(below, Epilogue(bias, SLOPE), out),
        "both gradients": lambda: connections.transposed_and_gradient(above, below, gate, room, deltas),
    }


def _torch_cases(bsr: Any, source: np.ndarray, n_values: dict[str, int]) -> dict[str, Callable[[], object]]:
    """PyTorch's product, if it is installed."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)
    index = (torch.from_numpy(each.astype(np.int64)) for each in (bsr.indptr, bsr.indices))
    matrix = torch.sparse_bsr_tensor(*index, torch.from_numpy(bsr.data), bsr.shape)
    columns, name = torch.from_numpy(source), f"PyTorch {version('torch')} BSR 16 x 16"
    n_values[name] = bsr.data.size
    return {f"{name} product": lambda: matrix @ columns}


def _ratios(timings: dict[str, Timing], n_values: dict[str, int], both: float | None) -> dict[str, object]:
    """Of csr's time and of the rate of BLAS, for both passes."""
    per_value = {
        other: sum(timings[f"{other} {each}"].median for each in PASSES) / n_values[other]
        for other in ("csr", "dense BLAS")
    }
    if both is None:
        return {"of csr": "-", "of BLAS": "-"}
    return {"of csr": f"{both / per_value['csr']:.2f}", "of BLAS": f"{per_value['dense BLAS'] / both:.2f}"}
