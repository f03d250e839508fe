"""The folder a run leaves: configuration, metrics, checkpoints, summary. Written by root only."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_sparse.errors import FileFormatError, OutputError
from hpc_sparse.training.metrics import EpochMetrics


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
        if any(path.exists() for path in (self.config, self.metrics, self.checkpoints, self.summary)):
            raise OutputError(
                f"{self.path}: holds a run already; choose another --output, or continue it with --resume auto"
            )
        for parent in (self.path, *self.path.parents):
            if parent.exists() and not parent.is_dir():
                raise OutputError(f"{self.path}: cannot make the run folder: {parent} is not a folder")

    def create(self, config_text: str) -> None:
        """Make the folder where it is missing and store the configuration.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            replace_text(self.config, config_text)
            self.metrics.touch()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot write the run folder: {error.strerror}") from None

    def copy_history(self, source: RunFolder, up_to_epoch: int) -> None:
        """Take over the metrics of the run that this one branches off from."""
        lines = source.metrics.read_text(encoding="utf-8").splitlines() if source.metrics.exists() else []
        replace_text(self.metrics, "".join(line + "\n" for line in lines[:up_to_epoch]))

    def append(self, metrics: EpochMetrics) -> None:
        """Add an epoch to ``metrics.jsonl``, on disk when this returns."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics.as_dict()) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def history(self, up_to_epoch: int) -> list[EpochMetrics]:
        """The stored epochs up to and including ``up_to_epoch``; later ones are cut off the file.

        Raises
        ------
        FileFormatError
            A line is not an epoch's metrics, or the epochs are not 1, 2, ..., ``up_to_epoch``.
        """
        # Bytes that are no text become characters that no JSON parser accepts, so the line is named below.
        text = self.metrics.read_text(encoding="utf-8", errors="replace") if self.metrics.exists() else ""
        lines = text.splitlines()
        history = []
        for number, line in enumerate(lines[:up_to_epoch], 1):
            try:
                history.append(EpochMetrics(**json.loads(line)))
            except (TypeError, ValueError):
                raise FileFormatError(f"{self.metrics}, line {number}: not the metrics of an epoch") from None
        if [metrics.epoch for metrics in history] != list(range(1, up_to_epoch + 1)):
            raise FileFormatError(
                f"{self.metrics}: expected the epochs 1 to {up_to_epoch} that the checkpoint has behind it, "
                f"found {len(history)}"
            )
        replace_text(self.metrics, "".join(line + "\n" for line in lines[:up_to_epoch]))
        return history

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Store the result."""
        replace_text(self.summary, json.dumps(summary, indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old text or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
