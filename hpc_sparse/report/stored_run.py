"""Runs as they lie in their folders, finished or not, with names that tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hpc_sparse.evolution  # noqa: F401  (configurations choose from the strategies that it loads)
from hpc_sparse.config import RunConfig, load_config
from hpc_sparse.errors import FileFormatError, InputError
from hpc_sparse.monitor.metrics import RANK_PARTS, EpochMetrics
from hpc_sparse.runs.folder import RunFolder
from hpc_sparse.storage.checkpoint.folder import checkpoint_epochs
from hpc_sparse.storage.checkpoint.info import CheckpointInfo, read_checkpoint_info

LISTS = {"staleness_counts", "parts_test_accuracy"}
"""Metrics that are several numbers."""

TABLES = {"rank_seconds"}
"""Metrics that are several numbers of several kinds."""


@dataclass(frozen=True)
class StoredRun:
    """Contents of a run's folder.

    Attributes
    ----------
    name : str
        The end of its path, as long as it takes to be told from the others.
    folder : RunFolder
    config : RunConfig
    history : tuple of EpochMetrics
        The complete epochs; () if there is none yet.
    summary : dict
        Its result; {} while the run is not over.
    checkpoints : dict
        The files of complete epochs, by epoch, oldest first.
    newest : CheckpointInfo or None
        Description of the newest one; None if there is none or it is damaged.
    """

    name: str
    folder: RunFolder
    config: RunConfig
    history: tuple[EpochMetrics, ...]
    summary: dict[str, Any]
    checkpoints: dict[int, Path]
    newest: CheckpointInfo | None

    @property
    def n_ranks(self) -> int | None:
        """Number of ranks of the run; None if no file says so yet."""
        stored: int | None = self.summary.get("n_ranks")
        return stored if stored is not None or self.newest is None else self.newest.n_ranks

    @property
    def has_validation(self) -> bool:
        """Whether samples of the training part were held out."""
        return self.config.data.validation_fraction > 0

    @property
    def n_parameters(self) -> int | None:
        """Weights and biases in the end, None if nothing says so yet."""
        stored: int | None = self.summary.get("n_parameters")
        return stored if stored is not None or self.newest is None else self.newest.n_parameters


def read_runs(paths: Sequence[Path]) -> list[StoredRun]:
    """The runs in some folders; one that is given twice counts once.

    Raises
    ------
    InputError
        A path is not the folder of a run, or a file in it is not what it should be.
    """
    unique = list({path.resolve(): path for path in paths}.values())
    return [_read_run(path, name) for path, name in zip(unique, distinct_names(unique), strict=True)]


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The ends of paths, of as many parts as it takes to tell all of them apart; no two are the same path."""
    parts = [path.resolve().parts for path in paths]
    longest = max(map(len, parts))
    by_length = (["/".join(each[-length:]).lstrip("/") for each in parts] for length in range(1, longest + 1))
    return next(names for names in by_length if len(set(names)) == len(names))


def _read_run(path: Path, name: str) -> StoredRun:
    folder = RunFolder(path)
    if not folder.config.is_file():
        what = "not the folder of a run" if path.is_dir() else "no such folder"
        raise InputError(f"{path}: {what}: expected one with config.toml and metrics.jsonl, as training leaves it")
    config = load_config(folder.config)
    checkpoints = checkpoint_epochs(folder.checkpoints)
    summary = folder.stored_summary() or {}
    _check_summary(folder.summary, summary)
    return StoredRun(name, folder, config, _read_history(folder.metrics), summary, checkpoints, _newest(checkpoints))


def _newest(checkpoints: dict[int, Path]) -> CheckpointInfo | None:
    try:
        return read_checkpoint_info(checkpoints[max(checkpoints)]) if checkpoints else None
    except InputError:
        return None  # who wants more of it than its size says what is wrong


def _read_history(path: Path) -> tuple[EpochMetrics, ...]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror}") from None
    history: list[EpochMetrics] = []
    for number, line in enumerate(lines, 1):
        metrics = _parse(line)
        if metrics is None and number == len(lines):
            break  # a run that is being written, or was cut off
        if metrics is None or (history and metrics.epoch <= history[-1].epoch):
            raise FileFormatError(f"{path}, line {number}: not the metrics of an epoch after those before it")
        history.append(metrics)
    return tuple(history)


def _parse(line: str) -> EpochMetrics | None:
    try:
        metrics = EpochMetrics.from_json(line)
    except (TypeError, ValueError):
        return None
    values = metrics.as_dict()
    is_right = all(_is_right(name, value) for name, value in values.items())
    return metrics if is_right and isinstance(metrics.epoch, int) else None


def _is_right(name: str, value: Any) -> bool:
    if name in LISTS:
        return isinstance(value, tuple)
    if name not in TABLES:
        return isinstance(value, (int, float))
    if not isinstance(value, dict) or (value and set(value) != set(RANK_PARTS)):
        return False
    return all(isinstance(of_part, tuple) for of_part in value.values()) and len(set(map(len, value.values()))) <= 1


def _check_summary(path: Path, summary: dict[str, Any]) -> None:
    for name in ("n_ranks", "n_threads", "n_parameters", "total_seconds", "peak_rss_bytes"):
        if not isinstance(summary.get(name, 0), (int, float)):
            raise FileFormatError(f"{path}: {name} = {summary[name]!r}: expected a number")
