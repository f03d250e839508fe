"""Clock of the totals of an epoch."""

from __future__ import annotations

import time


class Clock:
    """Context that adds the seconds of its body to an attribute of some totals, unless the body fails.

    Parameters
    ----------
    totals : object
    name : str
        Name of the attribute.
    """

    __slots__ = ("_name", "_started", "_totals")

    def __init__(self, totals: object, name: str) -> None:
        self._totals, self._name, self._started = totals, name, 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, error: object, *_: object) -> None:
        if error is None:
            seconds = time.perf_counter() - self._started
            setattr(self._totals, self._name, getattr(self._totals, self._name) + seconds)
