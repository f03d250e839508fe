"""How far a rank has come, noted as it goes: cheap to write in every step, read by the watch for stalls."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Phase(IntEnum):
    """What a rank is doing."""

    STARTING = 0
    EVOLVING = 1
    TRAINING = 2
    SYNCING = 3
    EVALUATING = 4
    RECORDING = 5
    WRITING = 6
    SERVING = 7
    WAITING = 8

    @property
    def is_own_work(self) -> bool:
        """Whether a rank in this phase waits for nobody else."""
        return self in {Phase.EVOLVING, Phase.TRAINING}

    @property
    def has_steps(self) -> bool:
        """Whether a rank that gets on soon notes something else; the other phases are of one piece."""
        return self not in {Phase.STARTING, Phase.EVOLVING, Phase.EVALUATING, Phase.RECORDING, Phase.WRITING}


PHASE_NAMES = {
    Phase.STARTING: "starting",
    Phase.EVOLVING: "evolving",
    Phase.TRAINING: "training",
    Phase.SYNCING: "in a sync",
    Phase.EVALUATING: "evaluating",
    Phase.RECORDING: "recording an epoch",
    Phase.WRITING: "writing a checkpoint",
    Phase.SERVING: "serving",
    Phase.WAITING: "waiting for the serving rank",
}


class Beat(NamedTuple):
    """Where a rank is.

    Attributes
    ----------
    number : int
        Grows with everything that is done.
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


class Pulse:
    """Where this rank is now; written by its training, read by another thread."""

    def __init__(self) -> None:
        self.beat = Beat()

    def at(self, phase: Phase, epoch: int | None = None, step: int = 0) -> None:
        """Note what begins now; without ``epoch`` it is the one of before."""
        before = self.beat
        self.beat = Beat(before.number + 1, phase, before.epoch if epoch is None else epoch, step)
