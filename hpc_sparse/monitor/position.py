"""Position of a rank in its run: written cheaply in every step, read by the watch for stalls."""

from __future__ import annotations

import time
from enum import IntEnum
from typing import NamedTuple


class Phase(IntEnum):
    """Activity of a rank."""

    STARTING = 0
    EVOLVING = 1
    TRAINING = 2
    SYNCING = 3
    EVALUATING = 4
    RECORDING = 5
    WRITING = 6
    SERVING = 7
    WAITING = 8
    READING = 9

    @property
    def is_own_work(self) -> bool:
        """Whether a rank in this phase needs no other rank."""
        return self in {Phase.EVOLVING, Phase.TRAINING}

    @property
    def has_steps(self) -> bool:
        """Whether the position changes within the phase; other phases are one step."""
        return self in {Phase.TRAINING, Phase.SYNCING, Phase.SERVING, Phase.WAITING}


PHASE_NAMES = {
    Phase.STARTING: "starting",
    Phase.EVOLVING: "evolving",
    Phase.TRAINING: "training",
    Phase.SYNCING: "in a sync",
    Phase.EVALUATING: "evaluating",
    Phase.RECORDING: "recording an epoch",
    Phase.WRITING: "writing a checkpoint",
    Phase.SERVING: "serving",
    Phase.WAITING: "waiting for the server",
    Phase.READING: "reading data",
}

FILE_PHASES = frozenset({Phase.RECORDING, Phase.WRITING, Phase.READING})


class Position(NamedTuple):
    """Position of a rank in its run.

    Attributes
    ----------
    number : int
        Number of positions noted so far.
    phase : Phase
    epoch, step : int
        Counted from 1; 0 where there is none.
    """

    number: int = 0
    phase: Phase = Phase.STARTING
    epoch: int = 0
    step: int = 0

    def __str__(self) -> str:
        """In words: "epoch 3, step 120, training"."""
        epoch = f"epoch {self.epoch}, " if self.epoch else ""
        step = f"step {self.step}, " if self.step else ""
        return f"{epoch}{step}{PHASE_NAMES[self.phase]}"


class PositionTracker:
    """Tracker of this rank's position; written by its training, read by another thread."""

    def __init__(self) -> None:
        self.position = Position()
        self._file_seconds = 0.0
        self._files_since: float | None = None

    def at(self, phase: Phase, epoch: int | None = None, step: int = 0) -> None:
        """Note what begins now; without ``epoch`` it is the one of before."""
        before = self.position
        self.position = Position(before.number + 1, phase, before.epoch if epoch is None else epoch, step)
        if self._files_since is not None or phase in FILE_PHASES:
            self._clock_files(phase)

    def take_file_seconds(self) -> float:
        """Seconds spent on files since this was last asked."""
        taken, self._file_seconds = self._file_seconds, 0.0
        return taken

    def _clock_files(self, phase: Phase) -> None:
        now = time.perf_counter()
        if self._files_since is not None:
            self._file_seconds += now - self._files_since
        self._files_since = now if phase in FILE_PHASES else None
