"""Latency of a single sample and throughput of many, against the same network in other libraries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks import comparison, report, workload
from benchmarks.predictors import PREDICTORS, Predictor
from benchmarks.timing import interleave, measure
from hpc_sparse.errors import MachineError

BATCHES = (64, 256, 1024)
"""Samples that the others get at a time; each is measured with the one that is best for it."""

N_SINGLE = 200
"""Single samples per measurement."""

TOLERANCE = 1e-3


def measure_inference(network: str, n_threads: int, n_rounds: int, *, as_json: bool) -> None:
    """Print both for each library that is installed.

    All get the same samples in memory, row by row; the outputs are compared before anything is measured.
    """
    task = (
        comparison.WORKLOADS[network]() if network in comparison.WORKLOADS else workload.small_cifar10(float(network))
    )
    predictors, notes = _prepare(task, n_threads)
    batches = {name: _best_batch(name, predict, task.features) for name, predict in predictors.items()}
    single = {name: partial(_singly, predict, task.features) for name, predict in predictors.items()}
    whole = {name: _in_batches(predict, task.features, batches[name]) for name, predict in predictors.items()}
    latency = {name: timing.scaled(1e6 / N_SINGLE) for name, timing in interleave(single, n_rounds).items()}
    seconds = interleave(whole, n_rounds)
    rows = [
        {
            "library": name,
            "one sample, us": str(latency[name]),
            "times ours": latency[name].median / latency["ours"].median,
            "samples per ms": workload.N_SAMPLES / seconds[name].median / 1e3,
            "at a time": "all" if batches[name] == workload.N_SAMPLES else str(batches[name]),
            "ours, times as fast": seconds[name].median / seconds["ours"].median,
        }
        for name in predictors
    ]
    title = f"{task.name}, {task.network.n_connections:,} connections, predicting with {n_threads} threads"
    notes.append(f"median (least - most) of {n_rounds} rounds, interleaved; {workload.N_SAMPLES:,} samples")
    report.show(title, rows, notes, as_json=as_json)


def _prepare(task: workload.Workload, n_threads: int) -> tuple[dict[str, Predictor], list[str]]:
    predictors, notes = {}, []
    for name, make in PREDICTORS.items():
        try:
            predictors[name] = make(task.network, n_threads)
        except (ImportError, MachineError) as error:
            notes.append(f"left out: {name} ({error})")
    some = task.features[: BATCHES[0]]
    expected = predictors["ours"](some)
    for predict in predictors.values():
        np.testing.assert_allclose(predict(some), expected, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(predict(some[:1]), expected[:1], rtol=0, atol=TOLERANCE)
    return predictors, notes


def _best_batch(name: str, predict: Predictor, features: np.ndarray) -> int:
    """Ours takes all samples and divides them itself."""
    if name == "ours":
        return len(features)
    some = features[: 2 * max(BATCHES)]
    cases = {batch: _in_batches(predict, some, batch) for batch in BATCHES}
    for run in cases.values():
        run()
    return min(cases, key=lambda batch: measure(cases[batch], 2))


def _in_batches(predict: Predictor, features: np.ndarray, batch: int) -> Callable[[], None]:
    def run() -> None:
        for start in range(0, len(features), batch):
            predict(features[start : start + batch])

    return run


def _singly(predict: Predictor, features: np.ndarray) -> None:
    for number in range(N_SINGLE):
        predict(features[number : number + 1])
