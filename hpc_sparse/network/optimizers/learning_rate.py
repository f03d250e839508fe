"""Learning rate of each epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Schedule = Literal["constant", "step", "cosine"]


@dataclass(frozen=True)
class LearningRate:
    """Learning rate by epoch.

    Attributes
    ----------
    base : float
        The rate of one replica after warm-up and before any decay.
    schedule : "constant", "step" or "cosine"
        Step multiplies by ``step_factor`` every ``step_epochs`` epochs; cosine falls to 0 over ``n_epochs``.
    n_epochs : int
        Planned length of the run.
    scale : float
        Factor of the rate for several replicas that share a step.
    warmup_epochs : int
        Epochs over which the rate rises linearly to its full value.
    warmup_from : "zero" or "unscaled"
        Zero: the first epoch has 1 / (warmup_epochs + 1) of the full value. Unscaled: it has ``base``, and the scale
        comes in by and by (Goyal et al. 2017, arXiv 1706.02677).
    step_epochs, step_factor
        Of the step schedule.
    """

    base: float
    schedule: Schedule
    n_epochs: int
    scale: float = 1.0
    warmup_epochs: int = 0
    warmup_from: Literal["zero", "unscaled"] = "zero"
    step_epochs: int = 25
    step_factor: float = 0.9

    def at(self, epoch: int) -> float:
        """The rate of ``epoch``, counted from 1."""
        done = epoch - 1
        rate = self._warmed_up(done)
        if self.schedule == "step":
            return rate * self.step_factor ** (done // self.step_epochs)
        if self.schedule == "cosine":
            return rate * 0.5 * (1.0 + math.cos(math.pi * done / self.n_epochs))
        return rate

    def change_before(self, epoch: int) -> float:
        """The rate of ``epoch`` by that of the epoch before it; 1 for the first."""
        return change(self.at(epoch - 1), self.at(epoch)) if epoch > 1 else 1.0

    def _warmed_up(self, done: int) -> float:
        if done >= self.warmup_epochs:
            return self.base * self.scale
        if self.warmup_from == "zero":
            return self.base * self.scale * (done + 1) / (self.warmup_epochs + 1)
        return self.base * (1.0 + (self.scale - 1.0) * done / self.warmup_epochs)


def change(before: float, now: float) -> float:
    """The factor from one rate to the next; 1 from a rate that has come down to 0."""
    return now / before if before else 1.0
