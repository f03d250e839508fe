"""Outcomes on disk, so that a long row of trials can be continued."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from faulting.catalogue import Trial
from faulting.trial import Outcome


class StoredOutcomes:
    """The outcomes of the trials so far, by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, dict[str, object]] = json.loads(path.read_text()) if path.exists() else {}

    def find(self, trial: Trial) -> Outcome | None:
        """Stored outcome of a trial, if it went well."""
        fields = self._found.get(trial.name)
        return None if fields is None or fields["problems"] else Outcome(**{**fields, "trial": trial})

    def add(self, outcome: Outcome) -> None:
        """Store an outcome."""
        self._found[outcome.trial.name] = asdict(outcome)
        self._path.write_text(json.dumps(self._found, indent=1))
