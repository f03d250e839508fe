"""Metrics of each epoch and of a run."""

from __future__ import annotations

import json
import math
import platform
import re
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.state import type_names
from hpc_sparse.parallel.context import ParallelContext

NO_STATES: Mapping[str, AnyArray] = MappingProxyType({})

PEAK_RSS = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)
BYTES_PER_RSS_UNIT = 1 if sys.platform == "darwin" else 1024

RANK_PARTS = ("train", "sync", "evolve", "evaluate", "files")
"""Parts of a rank's time; ``files`` is reading and writing them since the epoch before."""

RANK_DECIMALS = 4
"""Decimals of the seconds of single ranks, which are many numbers."""

CLOCKED = {"is_clocked": True}
"""Metadata of the :class:`EpochMetrics` that a clock has a part in."""


@dataclass(frozen=True)
class EpochMetrics:
    """One line of ``metrics.jsonl``. Times are seconds of a monotonic clock, of the slowest rank.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    train_loss, train_accuracy : float
        Mean over the epoch's batches as they were trained: with dropout, before each update.
    test_loss, test_accuracy : float
        Results of the synced network at the end of the epoch.
    n_connections, n_neurons : int
        Numbers over all layers, inputs included; 0 in runs of earlier versions that did not store the neurons.
    connections_changed : int
        Connections grown by evolution at the start of this epoch, on the replica with the most.
    train_seconds, evolve_seconds, sync_seconds, evaluate_seconds : float
        Training without syncs, evaluation and compilation; the others by themselves. With a server: its time from the
        first update to the last, evaluation of the epoch before included; sync is the workers' mean waiting time.
    sync_bytes : int
        Bytes that one rank put into reductions and exchanges.
    learning_rate : float
        With scaling and schedule.
    phase : int
        2 while the workers of WASAP-SGD or WASSP-SGD train alone. Test and validation results are then means over the
        workers' networks, each evaluated on its own share of the samples.
    n_discarded : int
        Gradients that came too late to be applied.
    staleness_counts : tuple of int
        Number of gradients applied with staleness 0, 1, 2 and so on; the last bin includes all above it. Staleness is
        the number of updates between computing a gradient and applying it.
    wait_share : float
        Share of the workers' time spent waiting for the server.
    parts_test_accuracy : tuple of float
        After the last epoch of phase 2: of each worker's network, on all test samples, before they were averaged.
    validation_loss, validation_accuracy : float or None
        As of the test part, on the samples that are held out of the training part; None if none are.
    test_bits_per_token, test_perplexity, validation_bits_per_token, validation_perplexity : float or None
        The losses in bits of each token (a character or a word of a text), and their exponentials; else None.
    rank_seconds : dict of (tuple of float)
        Seconds of every rank by part, of :data:`RANK_PARTS`. A server's are all ``sync`` but for those of evolution and
        evaluation. {} in runs of earlier versions, and if not measured.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    n_connections: int
    connections_changed: int
    train_seconds: float = field(metadata=CLOCKED)
    evolve_seconds: float = field(metadata=CLOCKED)
    sync_seconds: float = field(metadata=CLOCKED)
    sync_bytes: int
    evaluate_seconds: float = field(metadata=CLOCKED)
    learning_rate: float
    n_neurons: int = 0
    phase: int = 1
    n_discarded: int = 0
    staleness_counts: tuple[int, ...] = ()
    wait_share: float = field(default=0.0, metadata=CLOCKED)
    parts_test_accuracy: tuple[float, ...] = ()
    rank_seconds: dict[str, tuple[float, ...]] = field(default_factory=dict, metadata=CLOCKED)
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    test_bits_per_token: float | None = None
    test_perplexity: float | None = None
    validation_bits_per_token: float | None = None
    validation_perplexity: float | None = None

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation part."""
        return self.validation_accuracy is not None

    @property
    def accuracy(self) -> float:
        """Accuracy by which epochs are compared: on the validation part, or on the test part if there is none."""
        return self.test_accuracy if self.validation_accuracy is None else self.validation_accuracy

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name, without those of a validation part that there is not."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def numbers(self) -> dict[str, float]:
        """The values that are single numbers, by name."""
        return {name: float(value) for name, value in self.as_dict().items() if not isinstance(value, (tuple, dict))}

    @classmethod
    def from_json(cls, line: str) -> EpochMetrics:
        """The metrics that :func:`to_json` wrote.

        Raises
        ------
        TypeError, ValueError
            The line is something else.
        """
        values: dict[str, Any] = dict(json.loads(line))
        return cls(**{name: _from_plain(value) for name, value in values.items()})


OF_TOKENS = tuple(each.name for each in fields(EpochMetrics) if each.name.endswith(("_bits_per_token", "_perplexity")))
"""Of texts alone."""

CLOCK_FIELDS = frozenset(each.name for each in fields(EpochMetrics) if each.metadata == CLOCKED)
"""In which two runs alike differ: times, and what is made of them."""


def epochs_without_progress(history: Sequence[EpochMetrics]) -> int:
    """Epochs since the one with the smallest validation loss, the first of equal ones."""
    losses = [metrics.validation_loss for metrics in history]
    known = [loss if loss is not None and math.isfinite(loss) else math.inf for loss in losses]
    return len(known) - 1 - known.index(min(known)) if known else 0


def best_epoch(history: Sequence[EpochMetrics]) -> EpochMetrics:
    """The epoch with the best accuracy, the first of equals; not-a-number is worst.

    Accuracies are of the validation part, or of the test part if nothing is held out.
    """
    return max(history, key=lambda metrics: (math.isfinite(metrics.accuracy), metrics.accuracy))


def by_rank(seconds: Sequence[Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """The seconds that each rank has spent on the :data:`RANK_PARTS`, as they are stored."""
    columns = zip(*seconds, strict=True)
    return {
        part: tuple(round(value, RANK_DECIMALS) for value in column)
        for part, column in zip(RANK_PARTS, columns, strict=True)
    }


def summarize(
    ctx: ParallelContext,
    network: Network,
    history: list[EpochMetrics],
    n_samples: int,
    total_seconds: float,
    peak_rss_bytes: int,
    states: Mapping[str, AnyArray] = NO_STATES,
) -> dict[str, Any]:
    """The contents of ``summary.json``.

    Parameters
    ----------
    ctx, network
    history : list of EpochMetrics
        All epochs of the run, also those before a resume.
    n_samples : int
        Samples that all ranks together train on.
    total_seconds : float
        Seconds of this process from the start of training to now.
    peak_rss_bytes : int
        Largest over the ranks.
    states : dict of str to array
        The optimiser's, of a layer, of which the types are told.
    """
    last = history[-1]
    train_seconds = median(metrics.train_seconds for metrics in history)
    return {
        **_results(history),
        "n_neurons": network.n_neurons,
        "n_connections": network.n_connections,
        "n_parameters": network.n_parameters,
        "density": network.density,
        "epochs": last.epoch,
        "n_ranks": ctx.size,
        "ranks_per_network": ctx.model.size,
        "n_threads": ctx.threads,
        "instructions": INSTRUCTION_SET.name,
        "tile_width": network.tile_width,
        "optimizer_states": type_names(states),
        "median_train_seconds": train_seconds,
        "total_seconds": total_seconds,
        "peak_rss_bytes": peak_rss_bytes,
        "training_rate": network.n_connections * n_samples / train_seconds if train_seconds > 0 else 0.0,
        "versions": versions(),
    }


def _results(history: list[EpochMetrics]) -> dict[str, Any]:
    """Results of the last and of the best epoch, whose names say by which part it is the best."""
    last, best = history[-1], best_epoch(history)
    of_tokens = {name: value for name in OF_TOKENS if (value := getattr(last, name)) is not None}
    if not last.has_validation:
        return {
            "test_accuracy": last.test_accuracy,
            "best_test_accuracy": best.test_accuracy,
            "best_test_epoch": best.epoch,
            "test_loss": last.test_loss,
            **of_tokens,
        }
    return {
        "test_accuracy": last.test_accuracy,
        "test_loss": last.test_loss,
        "validation_accuracy": last.validation_accuracy,
        "validation_loss": last.validation_loss,
        "best_validation_accuracy": best.validation_accuracy,
        "best_validation_epoch": best.epoch,
        "test_accuracy_of_best": best.test_accuracy,
        **of_tokens,
    }


def to_json(values: dict[str, Any], *, indent: int | None = None) -> str:
    """Plain values as JSON; numbers for which it has no notation (the accuracy of no samples) as null."""
    plain = {name: _to_plain(value) for name, value in values.items()}
    return json.dumps(plain, indent=indent, allow_nan=False)


def _to_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _to_plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _from_plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return tuple(_from_plain(item) for item in value)
    return math.nan if value is None else value


def peak_rss_bytes() -> int:
    """The most memory this process has had resident.

    Linux says so in ``/proc/self/status``; its ``getrusage`` also counts what the process that started this one had.
    """
    status = Path("/proc/self/status")
    if status.exists() and (peak := PEAK_RSS.search(status.read_text(encoding="ascii", errors="replace"))):
        return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_RSS_UNIT


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results can depend on; missing ones are left out."""
    found = {"python": platform.python_version()}
    for package in ("hpc-sparse", "numpy", "numba", "llvmlite", "h5py", "mpi4py"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
