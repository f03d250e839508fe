"""Schedule of topology changes: when, how much, and how many connections are left, as a function of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpc_sparse.config.evolution import DensitySchedule, DropSchedule
from hpc_sparse.dtypes import OFFSET
from hpc_sparse.network.apportion import apportion

EXPONENT = 3
"""Power of the exponential drop schedule and of the cubic decrease of the density."""

STEEPNESS = 6.0
"""The sigmoid decrease of the density is the logistic curve between - STEEPNESS and STEEPNESS, stretched to 1 and 0."""


@dataclass(frozen=True)
class TimeInRun:
    """A time in the run.

    Attributes
    ----------
    n_epochs : int
        Epochs that are over.
    step : int
        Steps of the next epoch that are done.
    n_steps : int
        Steps of an epoch.
    """

    n_epochs: int
    step: int = 0
    n_steps: int = 1

    @property
    def epochs(self) -> float:
        """Time since the start."""
        return self.n_epochs + self.step / self.n_steps

    @property
    def total_steps(self) -> int:
        """Steps since the start."""
        return self.n_epochs * self.n_steps + self.step


@dataclass(frozen=True)
class EvolutionSchedule:
    """Schedule of the changes of a topology.

    Attributes
    ----------
    n_epochs : int
        Planned length of the run.
    begin : int
        Epochs that must be over before the first change.
    end : int or None
        Epochs that are over at the last possible change; None if changes never end, and schedules run to ``n_epochs``.
    drop_fraction : float
        Share of the connections replaced at the beginning.
    drop_schedule : "constant", "cosine", "linear" or "exponential"
        Decrease of the drop fraction towards 0: none, half a cosine, linear, or the third power of the time left.
    least : float
        What the drop fraction decays to, instead of 0.
    density_schedule : "cubic" or "sigmoid"
        Decrease of the connections, where they become fewer.
    every_epochs : int
        Epochs from one change to the next.
    every_steps : int or None
        Steps from one change to the next, instead of ``every_epochs``.
    """

    n_epochs: int
    begin: int
    end: int | None
    drop_fraction: float
    drop_schedule: DropSchedule = "constant"
    every_epochs: int = 1
    every_steps: int | None = None
    least: float = 0.0
    density_schedule: DensitySchedule = "cubic"

    def is_due(self, time: TimeInRun) -> bool:
        """Whether the topology changes now; never at the start of the run."""
        is_over = self.end is not None and time.epochs > self.end
        if time.total_steps == 0 or time.epochs < self.begin or is_over:
            return False
        if self.every_steps is not None:
            return time.total_steps % self.every_steps == 0
        return time.step == 0 and time.n_epochs % self.every_epochs == 0

    def drop_fraction_at(self, time: TimeInRun) -> float:
        """Share of the connections to replace."""
        done, most = self.share_done_at(time), self.drop_fraction - self.least
        if self.drop_schedule == "cosine":
            return self.least + most * 0.5 * (1.0 + math.cos(math.pi * done))
        if self.drop_schedule == "linear":
            return self.least + most * (1.0 - done)
        if self.drop_schedule == "exponential":
            return self.least + most * (1.0 - done) ** EXPONENT
        return self.drop_fraction

    def remaining_at(self, time: TimeInRun, at_end: float) -> float:
        """Share of the initial connections that are left when ``at_end`` of them are to be left at the end.

        Cubic: they become fewer fast at first and slowly in the end (Zhu, Gupta 2017, arXiv 1710.01878; for sparse
        networks Liu et al. 2021, arXiv 2106.10404). Sigmoid: slowly at first and in the end, fast in the middle (CHTss,
        Zhang et al. 2025, arXiv 2501.19107). The last change brings them to the end.
        """
        share_left = 0.0 if self._is_last(time) else 1.0 - self.share_done_at(time)
        if self.density_schedule == "sigmoid":
            return at_end + (1.0 - at_end) * _fallen(1.0 - share_left)
        return at_end + (1.0 - at_end) * share_left**EXPONENT

    def ending_by(self, epoch: int) -> EvolutionSchedule:
        """The same with its end at ``epoch``, if it has a later one."""
        return replace(self, n_epochs=min(self.n_epochs, epoch), end=None if self.end is None else min(self.end, epoch))

    def _is_last(self, time: TimeInRun) -> bool:
        """Whether no change comes after the one that is due now."""
        n_next = (time.n_epochs + self.every_epochs) * time.n_steps
        if self.every_steps is not None:
            n_next = time.total_steps + self.every_steps
        is_after_run = n_next >= self.n_epochs * time.n_steps
        return is_after_run or (self.end is not None and n_next > self.end * time.n_steps)

    def share_done_at(self, time: TimeInRun) -> float:
        """Share of the time of changes that is over."""
        length = (self.end or self.n_epochs) - self.begin
        return min(1.0, max(0.0, (time.epochs - self.begin) / max(1, length)))


def _fallen(share_done: float) -> float:
    """The logistic curve that falls from 1 to 0."""

    def logistic(x: float) -> float:
        return 1.0 / (1.0 + math.exp(-STEEPNESS * x))

    return (logistic(1.0 - 2.0 * share_done) - logistic(-1.0)) / (logistic(1.0) - logistic(-1.0))


def shrunk_sizes(sizes: Sequence[int], n_wanted: int) -> list[int]:
    """Connections that layers are to have when ``n_wanted`` are left: in proportion to now, at least one each.

    Parameters
    ----------
    sizes : sequence of int
        Now.
    n_wanted : int
        Together. No layer grows.
    """
    now = np.array(sizes, OFFSET)
    first = np.minimum(now, 1)
    rest = apportion(n_wanted - int(first.sum()), now.astype(np.float64), now - first)
    return [int(size) for size in first + rest]
