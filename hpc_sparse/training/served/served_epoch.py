"""An epoch of a server."""

from __future__ import annotations

import time

from hpc_sparse.training.job import MidEpochState
from hpc_sparse.training.served.server_totals import ServerTotals


class ServedEpoch:
    """An epoch that is being served: its totals, how far it has got, and its clock.

    Parameters
    ----------
    totals : ServerTotals
        Of its updates so far.
    n_steps : int
        Updates of the whole epoch.
    n_bytes_before : int
        Bytes that the server had exchanged when the epoch began or was taken up.
    n_updates : int
        Updates that it had then.

    Attributes
    ----------
    totals : ServerTotals
    n_updates : int
        Updates so far.
    """

    def __init__(self, totals: ServerTotals, n_steps: int, n_bytes_before: int, n_updates: int = 0) -> None:
        self.totals, self.n_updates = totals, n_updates
        self._n_steps, self._n_bytes_before, self._began = n_steps, n_bytes_before, time.perf_counter()

    @classmethod
    def resumed(cls, mid_epoch: MidEpochState, n_steps: int, n_bytes_before: int) -> ServedEpoch:
        """An epoch of which some updates were made before."""
        return cls(ServerTotals.from_sums(mid_epoch.sums), n_steps, n_bytes_before, mid_epoch.step)

    @property
    def number(self) -> int:
        """Number of the epoch, counted from 1."""
        return self.totals.epoch

    @property
    def is_over(self) -> bool:
        """Whether it has all its updates."""
        return self.n_updates == self._n_steps

    @property
    def is_resumable(self) -> bool:
        """Whether a run can be stopped here."""
        # An epoch without updates cannot be taken up again: its network would be pruned and evolve a second time.
        return self.n_updates > 0

    def stop_clock(self, n_bytes: int) -> None:
        """Count the seconds since its beginning, and the bytes up to ``n_bytes`` that the server has exchanged."""
        self.totals.train += time.perf_counter() - self._began
        self.totals.n_bytes += n_bytes - self._n_bytes_before

    def mid_epoch(self) -> MidEpochState:
        """Where it is left; its clock has been stopped."""
        return MidEpochState(self.n_updates, self.totals.to_sums())
