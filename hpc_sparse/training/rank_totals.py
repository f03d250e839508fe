"""Sums of one rank over an epoch; a checkpoint in its middle stores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from hpc_sparse.errors import quoted


@dataclass
class RankTotals:
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

    def to_sums(self) -> dict[str, float]:
        """All by name, for a checkpoint within the epoch."""
        return asdict(self)

    @classmethod
    def from_sums(cls, sums: Mapping[str, float]) -> RankTotals:
        """What :meth:`to_sums` gave, in any order.

        Raises
        ------
        ValueError
            Some are missing, or others than these, or a count is none.
        """
        check_names(sums, [field.name for field in fields(cls)])
        for name in ("n_correct", "n_grown", "n_bytes"):
            whole_number(name, sums[name])
        return cls(**sums)


def check_names(sums: Mapping[str, float], wanted: Sequence[str]) -> None:
    """Check that sums are those that are wanted (ValueError)."""
    if set(sums) != set(wanted):
        found = quoted(", ".join(sums)) or "none"
        raise ValueError(f"sums {found}: expected {', '.join(wanted)}")


def whole_number(name: str, value: float) -> int:
    """A sum that counts something (ValueError if it cannot)."""
    if not value.is_integer() or value < 0:
        raise ValueError(f"{name} = {value}: must be a whole number >= 0")
    return int(value)
