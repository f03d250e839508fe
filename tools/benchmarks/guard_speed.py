"""Cost of the checks of numbers: digests of replicas at every sync, checksums of checkpoints."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from benchmarks import report, workload
from benchmarks.file_speed import checkpoint_of
from benchmarks.peers.ours import Trainer
from benchmarks.timing import Timing, interleave
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.network import Network
from hpc_sparse.parallel.agreement import layer_digests
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.container.word_sum import word_sum

N_STEPS, STEPS_BETWEEN_SYNCS = 40, 50
WIDTHS, FAN_IN = [1000, 100_000, 100_000, 10], 50


def measure_guards(n_rounds: int, *, as_json: bool) -> None:
    """Print the cost of each guard beside that of what it guards, on one thread."""
    use_threads(1)
    task = workload.fashion_mnist()
    trainer, network = Trainer(task, 1), _large_network()
    checkpoint = checkpoint_of(network, 1)
    arrays = [array for state in checkpoint.layers for array in state.arrays().values()]
    with tempfile.TemporaryDirectory() as folder:
        path, ctx = Path(folder) / "checkpoint.h5", ParallelContext.serial(threads=1)
        timings = interleave(
            {
                "train": partial(trainer.train, N_STEPS),
                "digest": partial(layer_digests, task.network),
                "write": partial(write_checkpoint, ctx, path, checkpoint),
                "checksum": lambda: [word_sum(array) for array in arrays],
            },
            n_rounds,
        )
    between_syncs = timings["train"].scaled(STEPS_BETWEEN_SYNCS / N_STEPS)
    n_bytes = sum(array.nbytes for array in arrays)
    rows = [
        _row(f"digest of {task.name}", timings["digest"], f"{STEPS_BETWEEN_SYNCS} steps of training", between_syncs),
        _row(f"checksums of {n_bytes / 1e6:.0f} MB", timings["checksum"], "writing its checkpoint", timings["write"]),
    ]
    notes = [f"{n_rounds} rounds, interleaved, medians; one thread; checksums are part of writing"]
    report.show("what guards cost", rows, notes, as_json=as_json)


def _row(guard: str, cost: Timing, guarded: str, whole: Timing) -> dict[str, object]:
    share = cost.median / whole.median
    return {"guard": guard, "ms": cost.median * 1e3, "of": guarded, "ms of that": whole.median * 1e3, "share": share}


def _large_network() -> Network:
    densities = [FAN_IN / n_in for n_in in WIDTHS[:-1]]
    return Network.random(WIDTHS, densities, activation="relu", alpha=0.0, initializer="he_uniform", seed=0)
