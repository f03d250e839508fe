"""Interleaved measurement: A B C, A B C, ... so that a drifting machine drifts for all alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Timing:
    """Seconds of one case over all rounds."""

    median: float
    fastest: float
    slowest: float

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Summarise measured seconds."""
        return cls(median(seconds), min(seconds), max(seconds))

    def scaled(self, factor: float) -> Timing:
        """The same times in another unit or for more work."""
        return Timing(self.median * factor, self.fastest * factor, self.slowest * factor)

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.fastest:.3g} - {self.slowest:.3g})"


@dataclass(frozen=True)
class Measured:
    """Result of a case that measures itself, because its start-up time must not count."""

    seconds: float


def interleave(cases: dict[str, Callable[[], object]], n_rounds: int, n_repeats: int = 1) -> dict[str, Timing]:
    """Time every case once a round, after one warm-up call each.

    Parameters
    ----------
    cases : dict
        Calls to time, by name.
    n_rounds : int
        Measurements of each case.
    n_repeats : int
        Calls per measurement; the times are per call.

    A case that returns a :class:`Measured` is taken at its word.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for run in cases.values():
        run()
    for _ in range(n_rounds):
        for name, run in cases.items():
            seconds[name].append(measure(run, n_repeats))
    return {name: Timing.of(times) for name, times in seconds.items()}


def measure(run: Callable[[], object], n_repeats: int = 1) -> float:
    """Seconds per call."""
    own = 0.0
    started = time.perf_counter()
    for _ in range(n_repeats):
        own += _own_seconds(run())
    return (own or time.perf_counter() - started) / n_repeats


def _own_seconds(result: object) -> float:
    return result.seconds if isinstance(result, Measured) else 0.0
