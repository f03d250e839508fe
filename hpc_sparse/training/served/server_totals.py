"""What the serving rank counts in an epoch, and the metrics it comes to."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field

from hpc_sparse.monitor.metrics import EpochMetrics, by_rank
from hpc_sparse.network.network import Network
from hpc_sparse.parallel.gradient_exchange import GradientHeader

STALENESS_BINS = 16
"""The last bin holds what is staler than all others."""


@dataclass
class Tally:
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

    def to_numbers(self) -> tuple[float, ...]:
        """For a checkpoint within the epoch; all but the seconds of single workers."""
        *numbers, counts, _ = astuple(self)
        return (*numbers, *counts)

    @classmethod
    def from_numbers(cls, numbers: tuple[float, ...]) -> Tally:
        """What :meth:`to_numbers` gave."""
        epoch, rate, n_changed, n_discarded, n_bytes, *rest = numbers[:-STALENESS_BINS]
        tally = cls(int(epoch), rate, int(n_changed), int(n_discarded), int(n_bytes))
        tally.train, tally.evolve, tally.evaluate = rest[:3]
        tally._loss, tally._n_correct, tally._n_samples, tally._compute_seconds, tally._wait_seconds = rest[3:]
        tally._staleness_counts = [int(count) for count in numbers[-STALENESS_BINS:]]
        tally._of_workers = None
        return tally

    @property
    def mean_loss(self) -> float:
        """Of the samples so far."""
        return self._loss / max(1, self._n_samples)

    def to_metrics(
        self,
        network: Network,
        test_loss: float,
        test_accuracy: float,
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
            test_loss=test_loss,
            test_accuracy=test_accuracy,
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
        """Of the server, who alone counts files, then of the workers."""
        if self._of_workers is None:
            return {}
        workers = (self._of_workers.get(worker, (0.0, 0.0)) for worker in range(1, n_workers + 1))
        server = (0.0, max(0.0, self.train - self.evaluate), self.evolve, self.evaluate, file_seconds)
        return by_rank([server, *((computed, waited, 0.0, 0.0, 0.0) for computed, waited in workers)])


def _without_trailing_zeros(counts: list[int]) -> tuple[int, ...]:
    last = max((number for number, count in enumerate(counts) if count), default=-1)
    return tuple(counts[: last + 1])
