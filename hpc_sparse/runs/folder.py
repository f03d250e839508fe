"""The folder a run leaves: configuration, metrics, checkpoints, summary. Written by root only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_sparse.errors import FileFormatError, OutputError
from hpc_sparse.monitor.metrics import EpochMetrics, to_json
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint


@dataclass(frozen=True)
class RunFolder:
    """Names of and access to the files of a run.

    Attributes
    ----------
    path : Path
        Holds ``config.toml``, ``metrics.jsonl``, ``summary.json`` and ``checkpoints/``.
    """

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def config(self) -> Path:
        """The complete configuration."""
        return self.path / "config.toml"

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        """The result, written last."""
        return self.path / "summary.json"

    def check_unused(self) -> None:
        """Check that a new run may be put here; changes nothing.

        Raises
        ------
        OutputError
            The folder holds a run already, or something else is in the way.
        """
        try:
            is_used = any(path.exists() for path in (self.config, self.metrics, self.checkpoints, self.summary))
            in_the_way = [path for path in (self.path, *self.path.parents) if path.exists() and not path.is_dir()]
        except OSError as error:
            raise OutputError(f"{self.path}: cannot make the run folder: {error.strerror}") from None
        if is_used:
            raise OutputError(
                f"{self.path}: holds a run already; choose another --output, or continue it with --resume auto"
            )
        if in_the_way:
            raise OutputError(f"{self.path}: cannot make the run folder: {in_the_way[0]} is not a folder")

    def has_only_begun(self) -> bool:
        """Whether a run was started here that has neither a checkpoint nor an end."""
        return self.config.is_file() and not self.summary.exists() and newest_checkpoint(self.checkpoints) is None

    def create(self, config_text: str) -> None:
        """Make the folder where it is missing and store the configuration.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        with _output_errors(self.path, "cannot write the run folder"):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            replace_text(self.config, config_text)
            self.metrics.touch()

    def append(self, metrics: EpochMetrics) -> None:
        """Add an epoch to ``metrics.jsonl``, on disk when this returns."""
        with _output_errors(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(to_json(metrics.as_dict()) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def history(self, up_to_epoch: int) -> list[EpochMetrics]:
        """The stored epochs up to and including ``up_to_epoch``; none if no metrics are stored.

        Raises
        ------
        FileFormatError
            A line is not an epoch's metrics, or the epochs do not follow each other up to ``up_to_epoch``.
        """
        # Bytes that are no text become characters that no JSON parser accepts, so that their line is named below.
        try:
            text = self.metrics.read_text(encoding="utf-8", errors="replace") if self.metrics.exists() else ""
        except OSError as error:
            raise FileFormatError(f"{self.metrics}: cannot be read: {error.strerror}") from None
        lines = text.splitlines()
        history: list[EpochMetrics] = []
        for number, line in enumerate(lines if up_to_epoch else [], 1):
            try:
                history.append(EpochMetrics.from_json(line))
            except (TypeError, ValueError):
                raise FileFormatError(f"{self.metrics}, line {number}: not the metrics of an epoch") from None
            if history[-1].epoch >= up_to_epoch:
                break
        found = [metrics.epoch for metrics in history]
        if found != list(range(up_to_epoch - len(found) + 1, up_to_epoch + 1)):
            raise FileFormatError(
                f"{self.metrics}: expected the epochs up to {up_to_epoch} that the checkpoint has behind it, "
                f"found {found[0]} to {found[-1]}"
            )
        return history

    def replace_history(self, history: list[EpochMetrics]) -> None:
        """Store exactly these epochs."""
        with _output_errors(self.metrics):
            replace_text(self.metrics, "".join(to_json(metrics.as_dict()) + "\n" for metrics in history))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Store the result."""
        with _output_errors(self.summary):
            replace_text(self.summary, to_json(summary, indent=2) + "\n")

    def stored_summary(self) -> dict[str, Any] | None:
        """The result of a run that is over, or None if it is not.

        Raises
        ------
        FileFormatError
            The file is there, but holds something else.
        """
        if not self.summary.exists():
            return None
        try:
            summary = json.loads(self.summary.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            summary = None
        if not isinstance(summary, dict):
            raise FileFormatError(f"{self.summary}: not the summary of a run")
        return summary


@contextmanager
def _output_errors(path: Path, what: str = "cannot be written") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: {what}: {error.strerror}") from None


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old text or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
