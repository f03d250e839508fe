"""The checkpoints of a run folder: what they are called, which is the newest, which may go."""

from __future__ import annotations

import re
from pathlib import Path

from hpc_sparse.storage.container import remove_partial_files

CHECKPOINT_NAME = re.compile(r"checkpoint-(\d{6,})\.h5")


def checkpoint_path(folder: Path | str, epoch: int) -> Path:
    """Name of the checkpoint after ``epoch`` epochs."""
    return Path(folder) / f"checkpoint-{epoch:06d}.h5"


def checkpoint_epochs(folder: Path | str) -> dict[int, Path]:
    """The checkpoints in ``folder`` by epoch, oldest first; none if there is no such folder."""
    if not Path(folder).is_dir():
        return {}
    matches = ((CHECKPOINT_NAME.fullmatch(path.name), path) for path in Path(folder).iterdir())
    return dict(sorted((int(match[1]), path) for match, path in matches if match))


def newest_checkpoint(folder: Path | str) -> Path | None:
    """The checkpoint of the latest epoch, or None."""
    paths = list(checkpoint_epochs(folder).values())
    return paths[-1] if paths else None


def prune_checkpoints(folder: Path | str, keep_last: int, best_epoch: int | None) -> list[Path]:
    """Remove all checkpoints but the last ``keep_last`` and the best one; root alone calls this.

    The newest one always stays. What interrupted writers left behind goes too.

    Returns
    -------
    list of Path
        The checkpoints removed.
    """
    by_epoch = checkpoint_epochs(folder)
    kept = {*list(by_epoch)[-max(1, keep_last) :], best_epoch}
    removed = [path for epoch, path in by_epoch.items() if epoch not in kept]
    for path in removed:
        path.unlink(missing_ok=True)
    remove_partial_files(Path(folder), "checkpoint-")
    return removed
