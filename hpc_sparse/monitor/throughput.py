"""Throughput of a run, and the time that is left."""

from __future__ import annotations

import math
import time
from collections import deque
from datetime import timedelta

EPOCHS_LOOKED_AT = 10
"""Number of recent epochs from which the time left is estimated, with everything between them."""

SIZES = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
"""From which rate on it is shown in which unit, and its letter."""


class Throughput:
    """Throughput of a run, from the steps that are reported to it; a step number that falls begins a new epoch.

    Parameters
    ----------
    first_epoch, n_epochs : int
        Epoch that begins now, and the last one; counted from 1.
    n_steps, n_samples : int
        Steps of an epoch, and its samples on all ranks.
    """

    def __init__(self, first_epoch: int, n_epochs: int, n_steps: int, n_samples: int) -> None:
        self.epoch, self.step = first_epoch, 0
        self.n_epochs, self.n_steps = n_epochs, n_steps
        self._first_epoch = first_epoch
        self._samples_per_step = n_samples / max(1, n_steps)
        self._marks = deque([(time.monotonic(), 0)], maxlen=EPOCHS_LOOKED_AT)
        self._begun: float | None = None
        self._steps_before, self._now, self._last_rate = 0, 0.0, math.nan

    def advance(self, n_done: int, now: float) -> None:
        """Note that ``n_done`` steps of an epoch are done at time ``now`` of the monotonic clock."""
        if self._begun is None:
            # A run may go on within an epoch.
            self._marks[0] = (now, n_done) if n_done > 1 else self._marks[0]
            self._begun, self._steps_before = now, n_done
        elif n_done <= self.step:
            self._last_rate = self.steps_per_second(self._now)
            self._marks.append((self._now, self.n_done))
            self.epoch += 1
            self._begun, self._steps_before = now, n_done
        self.step, self._now = n_done, now

    @property
    def n_done(self) -> int:
        """Steps since the first epoch began, also those of before a resume."""
        return (self.epoch - self._first_epoch) * self.n_steps + self.step

    @property
    def n_total(self) -> int:
        """Steps from the first epoch to the last."""
        return (self.n_epochs - self._first_epoch + 1) * self.n_steps

    def steps_per_second(self, now: float) -> float:
        """Rate in this epoch since its first step; before that, the last epoch's; NaN at first."""
        n_steps = self.step - self._steps_before
        if self._begun is None or not n_steps or now <= self._begun:
            return self._last_rate
        return n_steps / (now - self._begun)

    def samples_per_second(self, now: float) -> float:
        """Rate in samples of all ranks, without the time between epochs."""
        return self.steps_per_second(now) * self._samples_per_step

    def seconds_left(self, now: float) -> float:
        """Estimate from the mean speed of the last epochs, evaluation and files included; NaN at first."""
        since, n_before = self._marks[0]
        n_steps = self.n_done - n_before
        return (now - since) / n_steps * (self.n_total - self.n_done) if n_steps > 0 else math.nan


def shown_rate(rate: float, unit: str) -> str:
    """A number per second in three or four digits: ``312 steps/s``, ``48.6k samples/s``."""
    if not math.isfinite(rate):
        return f"- {unit}/s"
    for least, size, letter in SIZES:
        if rate >= least:
            return f"{rate / size:.1f}{letter} {unit}/s"
    decimals = 0 if rate >= 10 else 1 if rate >= 1 else 2
    return f"{rate:,.{decimals}f} {unit}/s"


def shown_duration(seconds: float) -> str:
    """Hours, minutes and seconds: ``0:04:12``."""
    return str(timedelta(seconds=math.ceil(seconds))) if math.isfinite(seconds) else "-"
