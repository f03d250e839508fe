"""Traces of a run on disk and in memory, found from outside, without the package."""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from faulting.plan import TRIAL_VARIABLE

SECONDS_BETWEEN_LOOKS, MOST_SECONDS_AWAKE = 0.02, 1.0
CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)(?:\+(\d+))?\.h5")


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of a run folder that got furthest, or None."""
    found = {
        (int(match[1]), int(match[2] or 0)): path
        for path in sorted((folder / "checkpoints").glob("*"))
        if (match := CHECKPOINT_NAME.fullmatch(path.name))
    }
    return found[max(found)] if found else None


def position(name: str) -> tuple[int, int]:
    """Epochs, and steps of the next one, that a checkpoint of this name has behind it."""
    match = CHECKPOINT_NAME.fullmatch(name)
    assert match is not None, name
    return int(match[1]), int(match[2] or 0)


def digest(path: Path) -> str:
    """Fingerprint of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unexpected_files(folder: Path) -> list[str]:
    """Files among the checkpoints that are neither a checkpoint nor named as unfinished."""
    return [
        path.name
        for path in sorted((folder / "checkpoints").glob("*"))
        if not CHECKPOINT_NAME.fullmatch(path.name) and not is_partial(path)
    ]


def is_partial(path: Path) -> bool:
    """Whether a file is named as one that is still being written."""
    return path.name.startswith(".") and path.suffix == ".partial"


def processes_of(trial: str) -> list[int]:
    """The processes, zombies aside, that were started for a trial."""
    mark, found = f"{TRIAL_VARIABLE}={trial}".encode(), []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        # A process may end while it is looked at.
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def wait_for_end(trial: str, seconds: float) -> list[int]:
    """The processes of a trial that are still there after so long."""
    awake = AwakeClock()
    while (left := processes_of(trial)) and awake.seconds < seconds:
        awake.sleep()
    return left


def kill(processes: list[int], number: int) -> None:
    """Send a signal to each of these processes."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def is_rank(process: int) -> bool:
    """Whether a process is a rank: neither the launcher nor a shell."""
    return b"python" in _words(process)[0]


def describe(process: int) -> str:
    """A process's number, state and command."""
    state = _status(process).get("State", "gone")
    return f"{process} {state} {b' '.join(_words(process)).decode(errors='replace')[:120]}"


def rss_bytes(process: int) -> int:
    """Memory that a process has now."""
    return 1024 * int(_status(process)["VmRSS"].split()[0])


def n_open_files(process: int) -> int:
    """Files, sockets and pipes that a process has open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def _words(process: int) -> list[bytes]:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def _status(process: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


class AwakeClock:
    """Seconds for which this process has been awake: a machine that was suspended has not made a run hang."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._before = time.monotonic()

    def sleep(self) -> None:
        """Wait a moment."""
        time.sleep(SECONDS_BETWEEN_LOOKS)
        now = time.monotonic()
        self.seconds += min(now - self._before, MOST_SECONDS_AWAKE)
        self._before = now
