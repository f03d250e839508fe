"""Runs that are the same experiment but for the seed, and in what settings runs differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpc_sparse.report.stored_run import StoredRun

SEED = "training.seed"
WITHOUT_EFFECT = ("runtime.", "checkpoint.")
"""Sections that decide how a run is done, not what comes out."""

NUMBERING = re.compile(r"[\W_]*(seed)?[\W_]*$", re.IGNORECASE)
"""End of the common beginning of numbered runs' names."""


@dataclass(frozen=True)
class RunGroup:
    """Runs of which all but the seed is the same.

    Attributes
    ----------
    label : str
        Different for each group.
    runs : tuple of StoredRun
        At least one.
    """

    label: str
    runs: tuple[StoredRun, ...]

    @property
    def legend(self) -> str:
        """The label, and how many runs there are."""
        return self.label if len(self.runs) == 1 else f"{self.label} ({len(self.runs)} runs)"

    @property
    def shown_run(self) -> StoredRun:
        """The run whose network is shown for the group: the first with a checkpoint."""
        return next((run for run in self.runs if run.checkpoints), self.runs[0])


def group_runs(runs: Sequence[StoredRun]) -> list[RunGroup]:
    """Put together the runs that differ in the seed only, in the order in which they were given."""
    found: dict[str, list[StoredRun]] = {}
    for run in runs:
        alike = {key: value for key, value in settings(run).items() if key != SEED}
        found.setdefault(repr({k: v for k, v in alike.items() if not k.startswith(WITHOUT_EFFECT)}), []).append(run)
    labels = [_label(group) for group in found.values()]
    counts = Counter(labels)
    return [
        RunGroup(label if counts[label] == 1 else _long_label(group), tuple(group))
        for label, group in zip(labels, found.values(), strict=True)
    ]


def settings(run: StoredRun) -> dict[str, Any]:
    """All settings of a run by ``section.key``, and its number of ranks."""
    sections = run.config.model_dump(mode="json")
    by_key = {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}
    return {**by_key, "ranks": run.n_ranks}


def differing_settings(groups: Sequence[RunGroup]) -> dict[str, list[list[Any]]]:
    """The settings in which runs differ: for each group the values that its runs have, every one once."""
    by_group = [[settings(run) for run in group.runs] for group in groups]
    differing = {}
    for key in by_group[0][0]:
        values = [_distinct([run[key] for run in runs]) for runs in by_group]
        if len(_distinct([value for of_group in values for value in of_group])) > 1:
            differing[key] = values
    return differing


def _distinct(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _label(group: list[StoredRun]) -> str:
    if len(group) == 1:
        return group[0].name
    first, last = min(run.name for run in group), max(run.name for run in group)
    n_common = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    common = re.sub(r"\d+$", "", first[:n_common])
    parents = {run.folder.path.resolve().parent.name for run in group}
    return NUMBERING.sub("", common) or (parents.pop() if len(parents) == 1 else "") or _long_label(group)


def _long_label(group: list[StoredRun]) -> str:
    return group[0].name if len(group) == 1 else f"{group[0].name} and {len(group) - 1} more"
