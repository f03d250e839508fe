"""Speed of a layer whose neurons all have the same number of inputs, against one with rows of all lengths.

In nanoseconds per connection of one training step, for equally many connections on average.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks import report
from benchmarks.kernel_speed import LayerBench
from benchmarks.timing import Timing, interleave
from hpc_sparse.kernels.threads import use_threads

WIDTHS = (1_000, 100_000)
BATCHES = (32, 128)
FAN_INS = (1, 2, 3, 4, 8, 16, 32, 64)
PASSES = ("forward", "backward", "first layer")
PATTERNS = ("erdos_renyi", "constant_fan_in")

ENOUGH_VALUES = 20_000_000
"""Products of a weight and an activation in one measurement, at least: some milliseconds."""

ROW_COST = 8
"""Approximate cost of an output neuron, in connections."""


def measure_fan_in(n_threads: int, n_rounds: int, *, as_json: bool) -> None:
    """Print each pass's time per connection at every width, batch and fan-in."""
    use_threads(n_threads)
    rows = [
        _row(width, batch, fan_in, n_rounds, n_threads)
        for width in WIDTHS
        for batch in BATCHES
        for fan_in in FAN_INS
        if fan_in <= width
    ]
    notes = [
        "each cell: Erdos-Renyi rows / rows of constant fan-in, and how many times longer the former take",
        "hidden layer: forward with dropout; deltas, gradients and update; first layer: gradients and update",
        f"medians of {n_rounds} rounds, interleaved",
    ]
    title = f"rows of constant fan-in, {n_threads} threads, ns per connection and step"
    report.show(title, rows, notes, as_json=as_json)


def _row(width: int, batch: int, fan_in: int, n_rounds: int, n_threads: int) -> dict[str, object]:
    benches = {pattern: LayerBench(width, fan_in / width, batch, pattern) for pattern in PATTERNS}
    cases = {f"{name} {pattern}": run for pattern, bench in benches.items() for name, run in _passes(bench).items()}
    n_repeats = max(1, n_threads * ENOUGH_VALUES // (width * batch * (fan_in + ROW_COST)))
    timings = interleave(cases, n_rounds, n_repeats)
    row: dict[str, object] = {"width": f"{width:,}", "batch": batch, "fan-in": fan_in}
    for name in PASSES:
        row[name] = _compared([_per_connection(timings[f"{name} {pattern}"], benches[pattern]) for pattern in PATTERNS])
    return row


def _passes(bench: LayerBench) -> dict[str, Callable[[], object]]:
    """Passes of one training step over a hidden and over the first layer."""
    layer = bench.layer
    passes = (
        partial(layer.forward, bench.source, bench.out, {"record": bench.record}, bench.dropout),
        partial(layer.backward, bench.delta, bench.out, {}, bench.gate, bench.sink, bench.out),
        partial(layer.backward, bench.delta, bench.source, {}, None, bench.sink, None),
    )
    return dict(zip(PASSES, passes, strict=True))


def _per_connection(timing: Timing, bench: LayerBench) -> float:
    return timing.median / bench.layer.weight.size * 1e9


def _compared(seconds: list[float]) -> str:
    irregular, constant = seconds
    return f"{irregular:.3g} / {constant:.3g} = {irregular / constant:.2f}"
