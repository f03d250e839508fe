"""What a rank adds up in an epoch; a pause can come in between."""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass
class EpochSums:
    """Sums of one rank over the steps of an epoch so far; all zero before the first.

    Attributes
    ----------
    loss, n_correct : float
        Over the samples.
    n_grown : float
        Connections that evolution grew before the epoch.
    n_bytes : float
        Put into reductions and exchanges.
    train, evolve, sync, evaluate : float
        Seconds.
    """

    loss: float = 0.0
    n_correct: float = 0.0
    n_grown: float = 0.0
    n_bytes: float = 0.0
    train: float = 0.0
    evolve: float = 0.0
    sync: float = 0.0
    evaluate: float = 0.0

    def to_numbers(self) -> tuple[float, ...]:
        """For a checkpoint."""
        return astuple(self)

    @classmethod
    def from_numbers(cls, numbers: tuple[float, ...]) -> EpochSums:
        """What :meth:`to_numbers` gave."""
        return cls(*numbers)
