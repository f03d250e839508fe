"""One fault as data, handed from the program that starts a run to the process in which it happens."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

PLAN_VARIABLE = "FAULT_PLAN"
TRIAL_VARIABLE = "FAULT_TRIAL"
"""Marks every process of a run, so that none can be left behind unseen."""


@dataclass(frozen=True)
class FaultPlan:
    """Action of a fault, with its phase and rank.

    Attributes
    ----------
    action : str
        A key of :data:`faulting.actions.ACTIONS`.
    phase : str
        A key of :data:`faulting.phases.PHASES`.
    rank : int
        Rank on which it happens.
    call : int
        Number of the call of the phase's function, counted from 1.
    run_folder, notes : Path
        The run, and where the process notes that the fault has happened.
    ballast : Path or None
        A file that fills the run's disk; None where it has no disk of its own.
    """

    action: str
    phase: str
    rank: int
    call: int
    run_folder: Path
    notes: Path
    ballast: Path | None = None

    def to_json(self) -> str:
        """As the value of an environment variable."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> FaultPlan:
        """The plan that :meth:`to_json` has written."""
        fields = json.loads(text)
        for name in ("run_folder", "notes", "ballast"):
            fields[name] = None if fields[name] is None else Path(fields[name])
        return cls(**fields)
