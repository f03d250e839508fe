"""All faults that are tried: which fault, in which phase, on how many ranks, and how it has to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

RANKS = (1, 2, 4)
CRASHED, BAD_INPUT, DIVERGED, STOPPED, KILLED, KILLED_BY_USR1 = 1, 2, 3, 75, 137, 138

START = ("start-up", "import", "planning", "loading", "resuming", "warm-up")
EPOCH = ("step", "sync", "evolution", "evaluation", "record")
STORE = ("checkpoint", "closing", "publishing", "pruning files")
ALL_PHASES = (*START, *EPOCH, *STORE)
ON_ROOT_ONLY = {"planning", "record", "publishing", "pruning files", "update", "reply", "summary"}
ON_WORKERS_ONLY = {"gradient", "sending"}
AFTER_TRAINING = {"summary"}
LATER_CALLS = {"step": 4, "checkpoint": 6, "publishing": 2, "evaluation": 2, "gradient": 5, "update": 5, "reply": 4}
"""A second place within a phase: some steps later, the arrays in the middle, after the renaming of the file."""

MESSAGES = {
    "raise": r"rank {rank} of {ranks}.*InjectedFaultError: injected",
    "kill": r"process rank {rank} .*signal 9 \(Killed\)",
    "stop": r"rank {rank} of {ranks} has not answered for .* s",
    "SIGTERM": r"stopped as asked \(SIGTERM\)",
    "SIGUSR1": r"stopped as asked \(SIGUSR1\)",
    "SIGINT": r"stopped as asked \(SIGINT\)",
    "disk full": r"cannot be written|No space left on device|File too large",
    "folder renamed": r"no such folder|No such file or directory|cannot be written",
    "folder removed": r"no such folder|No such file or directory|cannot be written",
    "not a number": r"training diverged",
    "infinity": r"training diverged",
    "learning rate 1e30": r"training diverged",
}
"""Message expected on standard error, by fault."""
NOT_PASSED_ON = {"SIGTERM to mpirun", "SIGINT to mpirun"}
"""mpirun does not pass these on: it ends the ranks, which may or may not have time to stop as asked, or to finish."""


@dataclass(frozen=True)
class Trial:
    """One fault.

    Attributes
    ----------
    fault, phase : str
        Keys of :data:`faulting.actions.ACTIONS` and :data:`faulting.phases.PHASES`.
    ranks, rank : int
        Number of ranks, and the rank of the fault. 1 rank runs without mpirun, unless the fault is one of mpirun's.
    call : int
        In which call of the phase's function.
    strategy : str
    hdf5 : str
        Back end.
    """

    fault: str
    phase: str
    ranks: int
    rank: int = 0
    call: int = 1
    strategy: str = "local_sgd"
    hdf5: str = "auto"

    @property
    def name(self) -> str:
        """Unique, and the name of a folder."""
        parts = (self.fault, self.phase, self.strategy, self.hdf5, f"{self.ranks}r{self.rank}", f"c{self.call}")
        return "-".join(parts).replace(" ", "_")

    @property
    def is_under_mpirun(self) -> bool:
        """Whether a launcher starts it."""
        return self.ranks > 1 or "mpirun" in self.fault

    @property
    def is_before_python(self) -> bool:
        """Whether a signal reaches all ranks while one of them may not have begun to listen, which then ends it."""
        return self.fault == "SIGUSR1 to mpirun" and self.phase == "start-up" and self.ranks > 1

    @property
    def exit_codes(self) -> tuple[int, ...]:
        """The right exit codes."""
        if self.fault in NOT_PASSED_ON:
            return (CRASHED, STOPPED, 130, KILLED, 143)
        if self.is_before_python:
            return (STOPPED, KILLED_BY_USR1)
        if self.fault.startswith("SIG"):
            return (STOPPED,)
        return {"raise": (CRASHED,), "kill": (KILLED,), "stop": (CRASHED,)}.get(
            self.fault, (BAD_INPUT,) if self.fault in {"disk full", "folder renamed", "folder removed"} else (DIVERGED,)
        )

    @property
    def message(self) -> str:
        """Pattern that standard error has to match; empty where no message is expected."""
        if self.fault in NOT_PASSED_ON or (self.fault == "kill" and not self.is_under_mpirun):
            return ""
        if self.is_before_python:
            return f"{MESSAGES['SIGUSR1']}|signal 10 "
        key = self.fault if self.fault in MESSAGES else self.fault.split()[0]
        return MESSAGES[key].format(rank=self.rank, ranks=self.ranks)


def all_trials() -> list[Trial]:
    """Every fault, once each, those of one kind together."""
    return list(dict.fromkeys((*_crashes(), *_stalls(), *_signals(), *_disks(), *_numbers(), *_served())))


def _ranks_for(phase: str, ranks: int, turn: int) -> int:
    """The rank on which it happens: the last, every other time root."""
    return 0 if phase in ON_ROOT_ONLY or turn % 2 else ranks - 1


def _crashes() -> Iterator[Trial]:
    for ranks in RANKS:
        for turn, fault in enumerate(("raise", "kill")):
            # A lone rank's average reduces nothing.
            phases = [phase if ranks > 1 or phase != "sync" else "average" for phase in (*ALL_PHASES, "summary")]
            for number, phase in enumerate(phases):
                yield Trial(fault, phase, ranks, _ranks_for(phase, ranks, turn + number))
                if phase in LATER_CALLS:
                    yield Trial(fault, phase, ranks, _ranks_for(phase, ranks, turn + number + 1), LATER_CALLS[phase])


def _stalls() -> Iterator[Trial]:
    for ranks in RANKS[1:]:
        for number, phase in enumerate((*START[3:], *EPOCH, *STORE)):
            yield Trial("stop", phase, ranks, _ranks_for(phase, ranks, number))
            if phase in {"step", "sync", "checkpoint", "evaluation"}:
                yield Trial("stop", phase, ranks, _ranks_for(phase, ranks, number + 1))


def _signals() -> Iterator[Trial]:
    for ranks in RANKS:
        for turn, number in enumerate(("SIGTERM", "SIGUSR1", "SIGINT")):
            for place, phase in enumerate(("start-up", "warm-up", "step", "evolution", "evaluation", "checkpoint")):
                yield Trial(f"{number} to a rank", phase, ranks, _ranks_for(phase, ranks, turn + place))
            for phase in ("start-up", "step", "checkpoint"):
                yield Trial(f"{number} to mpirun", phase, ranks, _ranks_for(phase, ranks, turn))


def _disks() -> Iterator[Trial]:
    for ranks in RANKS:
        for phase in ("record", "checkpoint", "closing"):
            for hdf5 in ("serial", "mpio") if ranks > 1 else ("serial",):
                yield Trial("disk full", phase, ranks, 0, hdf5=hdf5)
        for fault in ("folder renamed", "folder removed"):
            for phase in ("step", "record", "checkpoint", "publishing"):
                yield Trial(fault, phase, ranks, 0)


def _numbers() -> Iterator[Trial]:
    for ranks in RANKS:
        yield Trial("learning rate 1e30", "step", ranks)
        for fault in ("not a number", "infinity"):
            yield Trial(fault, "step", ranks, 0)
            yield Trial(fault, "step", ranks, ranks - 1, 4)


def _served() -> Iterator[Trial]:
    for strategy, ranks in (("wassp", 4), ("wasap", 4), ("wassp", 2)):
        for fault in ("raise", "kill", "stop", "SIGUSR1 to a rank"):
            for phase in ("gradient", "sending", "update", "reply", "evolution", "evaluation", "phase 2", "checkpoint"):
                rank = 0 if phase in {*ON_ROOT_ONLY, "evolution", "evaluation"} else ranks - 1
                if phase == "phase 2" and fault.startswith("SIG"):
                    continue  # the last step is done: nothing is left to be stopped
                yield Trial(fault, phase, ranks, rank, LATER_CALLS.get(phase, 1), strategy)
        for phase in ("gradient", "update"):
            yield Trial("not a number", phase, ranks, ranks - 1 if phase == "gradient" else 0, 2, strategy)
