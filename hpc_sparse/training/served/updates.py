"""Updates of a server: by each gradient as it comes (WASAP-SGD), or by the mean over all workers (WASSP-SGD)."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from hpc_sparse.config.parallel import ParallelSection
from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.kernels.sparse.descent import add_scaled
from hpc_sparse.training.served.exchange import IdleWork, WorkerExchange
from hpc_sparse.training.served.parameters import ServedParameters
from hpc_sparse.training.served.server_totals import ServerTotals


class Update(NamedTuple):
    """Gradient of an update, float32[n_parameters], and the factor of its learning rate."""

    gradient: Float32Array
    rate_factor: float


class Updates(Protocol):
    """Source of updates."""

    @property
    def n_gradients(self) -> int:
        """Gradients that an update takes."""

    def next(self, n_updates: int, totals: ServerTotals, do_idle_work: IdleWork) -> Update | None:
        """The update after the first ``n_updates``, counted in ``totals``; None if a gradient came too late for one."""


class UpdatesByEach:
    """Updates by single gradients, in the order in which they come (WASAP-SGD).

    Parameters
    ----------
    exchange : WorkerExchange
    parameters : ServedParameters
    max_staleness : int
        Updates that a gradient may have missed; later ones are thrown away.
    is_staleness_aware : bool
        Whether the learning rate of a gradient that has missed ``s`` updates is divided by ``1 + s``.
    """

    n_gradients: ClassVar[int] = 1

    def __init__(
        self, exchange: WorkerExchange, parameters: ServedParameters, max_staleness: int, *, is_staleness_aware: bool
    ) -> None:
        self._exchange, self._parameters = exchange, parameters
        self._max_staleness, self._is_staleness_aware = max_staleness, is_staleness_aware

    def next(self, n_updates: int, totals: ServerTotals, do_idle_work: IdleWork) -> Update | None:
        """As of :class:`Updates`."""
        worker, header, gradient = self._exchange.next_gradient(do_idle_work)
        staleness = n_updates - header.base_update
        if staleness > self._max_staleness:
            totals.n_discarded += 1
            return None
        totals.add(header, staleness, worker)
        factor = 1.0 / (1.0 + staleness) if self._is_staleness_aware else 1.0
        return Update(self._parameters.history.carry(header.version, gradient), factor)


class UpdatesByMean:
    """Updates by the gradient over the batches of all workers, added up in the order of their ranks (WASSP-SGD).

    Parameters
    ----------
    exchange : WorkerExchange
    parameters : ServedParameters
    """

    def __init__(self, exchange: WorkerExchange, parameters: ServedParameters) -> None:
        self._exchange, self._parameters = exchange, parameters

    @property
    def n_gradients(self) -> int:
        """One of each worker."""
        return len(self._exchange.workers)

    def next(self, n_updates: int, totals: ServerTotals, do_idle_work: IdleWork) -> Update:  # noqa: ARG002
        """As of :class:`Updates`; no gradient comes too late."""
        total, n_samples = np.zeros_like(self._parameters.values), 0
        for worker in self._exchange.workers:
            _, header, gradient = self._exchange.gradient_of(worker, do_idle_work)
            totals.add(header, 0, worker)
            add_scaled(gradient, VALUE(header.n_samples), total)
            n_samples += header.n_samples
        total /= VALUE(n_samples)
        return Update(total, 1.0)


def make_updates(config: ParallelSection, exchange: WorkerExchange, parameters: ServedParameters) -> Updates:
    """The updates of the configured algorithm."""
    # With one worker both algorithms are the same; a mean would only round each gradient once more.
    if config.algorithm == "wassp" and len(exchange.workers) > 1:
        return UpdatesByMean(exchange, parameters)
    return UpdatesByEach(exchange, parameters, config.max_staleness, is_staleness_aware=config.staleness_aware)
