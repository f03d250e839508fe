"""Pruning of blocks by a threshold that rises (Narang, Undersander, Diamos 2017, arXiv 1711.02782, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import OFFSET
from hpc_sparse.evolution.schedule import TimeInRun
from hpc_sparse.network.connections.protocol import INPUT, Connections
from hpc_sparse.network.connections.topology import TopologyChange

STEEPER = 1.5
"""Slope of the threshold after its ramp, by the slope before."""


@dataclass(frozen=True)
class ThresholdSchedule:
    """Threshold as a function of the steps that are done.

    Attributes
    ----------
    q : float
        |weight| at the 90th percentile of a trained dense layer of the same kind.
    every : int
        Steps from one pruning to the next.
    start, ramp, end : float
        Steps after which the threshold rises, rises faster, and nothing is pruned any more.
    """

    q: float
    every: int
    start: float
    ramp: float
    end: float

    def is_due(self, step: int) -> bool:
        """Whether blocks are pruned after so many steps."""
        return self.start < step < self.end and step % self.every == 0

    def threshold_at(self, step: int) -> float:
        """Threshold after so many steps."""
        theta = 2.0 * self.q * self.every / (2.0 * (self.ramp - self.start) + 3.0 * (self.end - self.ramp))
        if step <= self.ramp:
            return theta * (step - self.start + 1) / self.every
        return (theta * (self.ramp - self.start + 1) + STEEPER * theta * (step - self.ramp + 1)) / self.every


@dataclass(frozen=True)
class BlockPruner:
    """Removes blocks below the threshold when pruning is due, and blocks of zeros at every change.

    A layer keeps its block of the largest |weight| in any case.

    Attributes
    ----------
    schedules : dict of bool to ThresholdSchedule
        For connections to the layer below (False) and others (True), as far as they are pruned.
    scale : float
        Factor of the thresholds.
    """

    schedules: dict[bool, ThresholdSchedule]
    scale: float

    @classmethod
    def from_config(cls, config: RunConfig, n_steps: int) -> BlockPruner | None:
        """The pruner of a run of ``n_steps`` steps an epoch; None if no block is ever to go by its size."""
        settings = config.block_pruning
        if not settings.is_on and not config.group_lasso.is_on:
            return None
        n_all = config.training.epochs * n_steps
        times = (settings.every_steps, settings.after_epoch * n_steps, settings.ramp * n_all, settings.end * n_all)
        thresholds = {False: settings.threshold, True: settings.recurrent_threshold or settings.threshold}
        schedules = {is_other: ThresholdSchedule(q, *times) for is_other, q in thresholds.items() if q is not None}
        return cls(schedules, settings.block_scale)

    def is_due(self, time: TimeInRun) -> bool:
        """Whether a schedule wants blocks to be pruned now."""
        return any(schedule.is_due(time.total_steps) for schedule in self.schedules.values())

    def removal(self, name: str, connections: Connections, time: TimeInRun) -> TopologyChange | None:
        """The change that takes out what is too small; None if nothing is, or units are single connections.

        Parameters
        ----------
        name : str
            Name of the connections in their layer.
        connections : Connections
        time : TimeInRun
        """
        if connections.unit == (1, 1) or not connections.weight.size:
            return None
        threshold, schedule = 0.0, self.schedules.get(name != INPUT)
        if schedule is not None and schedule.is_due(time.total_steps):
            threshold = self.scale * schedule.threshold_at(time.total_steps)
        largest = connections.scores("largest")
        is_kept = (largest >= threshold) & (largest > 0)
        is_kept[np.argmax(largest)] = True
        return None if is_kept.all() else connections.topology.replaced(is_kept, np.empty(0, OFFSET))
