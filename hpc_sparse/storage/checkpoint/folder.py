"""The checkpoints of a run folder: what they are called, which is the newest intact one, which may go."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeAlias

from hpc_sparse.errors import DataError, FileFormatError, NewerFormatError
from hpc_sparse.storage.container.file import remove_partial_files
from hpc_sparse.storage.container.hdf5 import output_errors
from hpc_sparse.storage.verification import verify_checkpoint

CHECKPOINT_NAME = re.compile(r"checkpoint-(\d{6,})(?:\+(\d{6,}))?\.h5")

EpochAndStep: TypeAlias = tuple[int, int]
"""Epochs done, and steps of the next one."""

DAMAGED_SUFFIX = ".damaged"
"""Added to the name of a checkpoint that is no longer to be counted as one."""


@dataclass(frozen=True)
class Damaged:
    """A checkpoint that cannot be used, and why not."""

    path: Path
    reason: str


def checkpoint_path(folder: Path | str, epoch: int, step_in_epoch: int = 0) -> Path:
    """Name of the checkpoint after ``epoch`` epochs and ``step_in_epoch`` steps of the next one."""
    unfinished = f"+{step_in_epoch:06d}" if step_in_epoch else ""
    return Path(folder) / f"checkpoint-{epoch:06d}{unfinished}.h5"


def checkpoint_positions(folder: Path | str) -> dict[EpochAndStep, Path]:
    """The checkpoints in ``folder`` by position, oldest first; none if there is no such folder."""
    if not Path(folder).is_dir():
        return {}
    matches = ((CHECKPOINT_NAME.fullmatch(path.name), path) for path in Path(folder).iterdir())
    return dict(sorted(((int(match[1]), int(match[2] or 0)), path) for match, path in matches if match))


def checkpoint_epochs(folder: Path | str) -> dict[int, Path]:
    """The checkpoints of complete epochs in ``folder`` by epoch, oldest first; none if there is no such folder."""
    return {epoch: path for (epoch, step), path in checkpoint_positions(folder).items() if step == 0}


def newest_checkpoint(folder: Path | str) -> Path | None:
    """The checkpoint that got furthest, also within an epoch, or None."""
    paths = list(checkpoint_positions(folder).values())
    return paths[-1] if paths else None


def newest_intact_checkpoint(folder: Path | str) -> tuple[Path | None, list[Damaged]]:
    """The checkpoint that got furthest of those that are whole, and the damaged ones beyond it, newest first.

    Each is read whole, from the newest on, until one is intact. None if no checkpoint is.

    Raises
    ------
    NewerFormatError
        The newest one that is intact or unknown was written by a later version.
    """
    damaged: list[Damaged] = []
    for path in reversed(checkpoint_positions(folder).values()):
        try:
            verify_checkpoint(path)
        except NewerFormatError:
            raise
        except (DataError, FileFormatError) as error:
            damaged.append(Damaged(path, str(error)))
        else:
            return path, damaged
    return None, damaged


def set_aside(path: Path) -> Path:
    """Give a damaged checkpoint a name under which it counts as none; the name.

    Raises
    ------
    OutputError
        It cannot be renamed.
    """
    names = (path.with_name(f"{path.name}{DAMAGED_SUFFIX}{number or ''}") for number in count())
    aside = next(name for name in names if not name.exists())
    with output_errors(path):
        path.replace(aside)
    return aside


def prune_checkpoints(folder: Path | str, keep_last: int, best_epoch: int | None) -> list[Path]:
    """Remove all checkpoints but those of the last ``keep_last`` epochs and of the best one; root alone calls this.

    The newest one always stays; one within an epoch stays only as long as it is that. What interrupted writers
    left behind goes too.

    Returns
    -------
    list of Path
        The checkpoints removed.
    """
    by_position = checkpoint_positions(folder)
    complete = [position for position in by_position if position[1] == 0]
    kept = {*list(by_position)[-1:], *complete[-max(1, keep_last) :], (best_epoch, 0)}
    removed = [path for position, path in by_position.items() if position not in kept]
    for path in removed:
        path.unlink(missing_ok=True)
    remove_partial_files(Path(folder), "checkpoint-")
    return removed
