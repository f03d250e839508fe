"""Totals of the server over an epoch, and the metrics made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hpc_sparse.monitor.metrics import EpochMetrics, by_rank
from hpc_sparse.network.network import Network
from hpc_sparse.parallel.gradient_exchange import GradientHeader
from hpc_sparse.training.evaluation import Scores
from hpc_sparse.training.rank_totals import check_names, whole_number

STALENESS_BINS = 16
"""The last bin holds what is staler than all others."""

COUNTS = ("epoch", "n_changed", "n_discarded", "n_bytes")

SUMS = {name: name for name in ("epoch", "rate", "n_changed", "n_discarded", "n_bytes", "train", "evolve", "evaluate")}
SUMS |= {name: f"_{name}" for name in ("loss", "n_correct", "n_samples", "compute_seconds", "wait_seconds")}
"""Attribute of each sum, by its name in checkpoints."""


@dataclass
class ServerTotals:
    """Sums over the gradients that were applied in one epoch.

    Attributes
    ----------
    epoch : int
    rate : float
        Learning rate of the epoch.
    n_changed : int
        Connections that had grown before it.
    n_discarded : int
        Gradients that came too late.
    n_bytes : int
        Sent and received by the server.
    train, evolve, evaluate : float
        Seconds of the server.
    """

    epoch: int
    rate: float
    n_changed: int
    n_discarded: int = 0
    n_bytes: int = 0
    train: float = 0.0
    evolve: float = 0.0
    evaluate: float = 0.0
    _loss: float = 0.0
    _n_correct: float = 0
    _n_samples: float = 0
    _compute_seconds: float = 0.0
    _wait_seconds: float = 0.0
    _staleness_counts: list[int] = field(default_factory=lambda: [0] * STALENESS_BINS)
    _of_workers: dict[int, tuple[float, float]] | None = field(default_factory=dict, compare=False)

    def add(self, header: GradientHeader, staleness: int, worker: int = 1) -> None:
        """Count a gradient of a worker that is applied."""
        self._loss += header.loss
        self._n_correct += header.n_correct
        self._n_samples += header.n_samples
        self._compute_seconds += header.compute_seconds
        self._wait_seconds += header.wait_seconds
        self._staleness_counts[min(staleness, STALENESS_BINS - 1)] += 1
        if self._of_workers is not None:
            computed, waited = self._of_workers.get(worker, (0.0, 0.0))
            self._of_workers[worker] = (computed + header.compute_seconds, waited + header.wait_seconds)

    def to_sums(self) -> dict[str, float]:
        """All but the seconds of single workers by name, for a checkpoint within the epoch."""
        sums = {name: float(getattr(self, attribute)) for name, attribute in SUMS.items()}
        return sums | {f"staleness_{number}": float(count) for number, count in enumerate(self._staleness_counts)}

    @classmethod
    def from_sums(cls, sums: Mapping[str, float]) -> ServerTotals:
        """What :meth:`to_sums` gave, in any order.

        Raises
        ------
        ValueError
            Some are missing, or others than these, or a count is none.
        """
        bins = [f"staleness_{number}" for number in range(STALENESS_BINS)]
        check_names(sums, [*SUMS, *bins])
        counts = {name: whole_number(name, sums[name]) for name in (*COUNTS, *bins)}
        totals = cls(counts["epoch"], sums["rate"], counts["n_changed"])
        for name, attribute in SUMS.items():
            setattr(totals, attribute, counts.get(name, sums[name]))
        totals._staleness_counts = [counts[name] for name in bins]
        totals._of_workers = None
        return totals

    @property
    def mean_loss(self) -> float:
        """Mean loss of the samples so far."""
        return self._loss / max(1, self._n_samples)

    def to_metrics(
        self,
        network: Network,
        scores: Scores,
        *,
        n_workers: int,
        file_seconds: float = 0.0,
    ) -> EpochMetrics:
        """The epoch's metrics; ``network`` as it was at the end of it."""
        worker_seconds = self._wait_seconds + self._compute_seconds
        return EpochMetrics(
            epoch=self.epoch,
            train_loss=self.mean_loss,
            train_accuracy=self._n_correct / max(1, self._n_samples),
            **scores.as_metrics(),
            n_connections=network.n_connections,
            connections_changed=self.n_changed,
            train_seconds=self.train,
            evolve_seconds=self.evolve,
            sync_seconds=self._wait_seconds / n_workers,
            sync_bytes=self.n_bytes,
            evaluate_seconds=self.evaluate,
            learning_rate=self.rate,
            n_neurons=network.n_neurons,
            n_discarded=self.n_discarded,
            staleness_counts=_without_trailing_zeros(self._staleness_counts),
            wait_share=self._wait_seconds / worker_seconds if worker_seconds else 0.0,
            rank_seconds=self._rank_seconds(n_workers, file_seconds),
        )

    def _rank_seconds(self, n_workers: int, file_seconds: float) -> dict[str, tuple[float, ...]]:
        """Seconds of the server, which alone writes files, then of the workers."""
        if self._of_workers is None:
            return {}
        workers = (self._of_workers.get(worker, (0.0, 0.0)) for worker in range(1, n_workers + 1))
        server = (0.0, max(0.0, self.train - self.evaluate), self.evolve, self.evaluate, file_seconds)
        return by_rank([server, *((computed, waited, 0.0, 0.0, 0.0) for computed, waited in workers)])


def _without_trailing_zeros(counts: list[int]) -> tuple[int, ...]:
    last = max((number for number, count in enumerate(counts) if count), default=-1)
    return tuple(counts[: last + 1])
