"""Time of SET's evolution by size of a layer, step by step, and against a full sort of the weights."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks import report
from benchmarks.timing import interleave
from hpc_sparse.evolution.strategies.set import replace_weakest
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.connections.initial_weights import draw_grown_weights, draw_weights
from hpc_sparse.network.connections.topology import Topology

SIZES = ((1_000, 40_000), (10_000, 400_000), (100_000, 4_000_000), (1_000_000, 20_000_000))
DROP_FRACTION = 0.3


def measure_evolution(n_threads: int, n_rounds: int, *, as_json: bool) -> None:
    """Print milliseconds of one evolution of an n x n layer."""
    use_threads(n_threads)
    rows: list[dict[str, object]] = []
    for n, n_connections in SIZES:
        topology = Topology.random((n, n), n_connections / n / n, np.uint64(1))
        weight = draw_weights("he_uniform", topology, np.uint64(2))
        change = replace_weakest(topology, weight, DROP_FRACTION, np.random.default_rng(0))
        timings = interleave(
            {
                "choose and merge": partial(_update, topology, weight),
                "carry weights": partial(change.carry, weight),
                "new weights": partial(
                    draw_grown_weights,
                    "he_uniform",
                    change.topology,
                    change.old_position,
                    np.uint64(3),
                    change.carry(weight),
                ),
                "transpose": partial(_transpose, change.topology),
                "(full sort of the weights)": partial(np.sort, weight),
            },
            n_rounds,
        )
        row: dict[str, object] = {"layer": f"{n:,} x {n:,}", "connections": topology.n_connections}
        row.update({f"{name}, ms": timing.median * 1e3 for name, timing in timings.items()})
        row["all, ns per connection"] = (
            sum(timing.median for name, timing in timings.items() if name[0] != "(") / topology.n_connections * 1e9
        )
        rows.append(row)
    report.show(f"SET evolution, drop fraction {DROP_FRACTION}, {n_threads} threads", rows, [], as_json=as_json)


def _update(topology: Topology, weight: np.ndarray) -> None:
    replace_weakest(topology, weight, DROP_FRACTION, np.random.default_rng(0))


def _transpose(topology: Topology) -> None:
    Topology(topology.shape, topology.indptr, topology.indices).transposed  # noqa: B018
