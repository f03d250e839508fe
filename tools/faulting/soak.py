"""Half an hour of random faults and resumes, beside an undisturbed process whose memory and open files are counted."""

from __future__ import annotations

import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from faulting import traces
from faulting.catalogue import KILLED, STOPPED
from faulting.plan import PLAN_VARIABLE, FaultPlan
from faulting.trial import END_SECONDS, end_processes, wait_for
from faulting.workplace import BROKEN, HPC_SPARSE, Start, Workplace, differences

RANKS = 4
EPOCHS = 12
STALL_SECONDS = 10.0
FAULTS = ("raise", "kill", "kill", "SIGTERM to a rank", "SIGUSR1 to mpirun", "stop")
PHASES = ("loading", "warm-up", "step", "sync", "average", "evolution", "evaluation", "checkpoint", "closing")
MOST_CALLS = {"step": 60, "sync": 30, "average": 30, "evolution": 12, "evaluation": 8, "checkpoint": 60, "closing": 4}
"""A random call of the phase's function; one that never comes leaves the run undisturbed."""
MOST_STARTS = 60
UNDISTURBED_EPOCHS = 10**6
SECONDS_BETWEEN_SAMPLES = 5.0


@dataclass
class Sample:
    """A rank of the undisturbed run at one time."""

    seconds: float
    rss_bytes: int
    n_files: int
    epoch: int


@dataclass
class SoakResult:
    """Result of a soak.

    Attributes
    ----------
    seed, minutes : int, float
    n_runs, n_faults, n_starts : int
        Complete runs, faults that happened, and starts of a job.
    problems : list of str
    samples : dict of int to list of Sample
        Samples of each rank of the undisturbed run.
    """

    seed: int
    minutes: float
    n_runs: int = 0
    n_faults: int = 0
    n_starts: int = 0
    problems: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    samples: dict[int, list[Sample]] = field(default_factory=dict)


def soak(workplace: Workplace, minutes: float, seed: int) -> SoakResult:
    """Run, break and resume until the time is over, or something goes wrong; the last run is completed."""
    result, rng = SoakResult(seed, minutes), random.Random(seed)
    start = Start(RANKS, settings=(f"training.epochs={EPOCHS}", f"runtime.stall_timeout={STALL_SECONDS}"))
    whole = workplace.reference(start)
    shutil.rmtree(workplace.folder / "soak", ignore_errors=True)
    (workplace.folder / "soak").mkdir()
    with _Undisturbed(workplace) as undisturbed:
        deadline = time.monotonic() + 60 * minutes
        while time.monotonic() < deadline:
            folder = workplace.folder / "soak" / f"run-{result.n_runs}"
            _run_with_faults(workplace, start, folder, rng, result, undisturbed)
            if result.problems:
                break
            if unlike := differences(folder, whole):
                result.problems.append(f"run {result.n_runs} differs: {', '.join(unlike[:3])}")
            else:
                shutil.rmtree(folder)
            result.n_runs += 1
        result.samples = undisturbed.samples
    if undisturbed.exit_code != STOPPED:
        result.problems.append(f"the undisturbed run ended with exit code {undisturbed.exit_code}")
    return result


def _run_with_faults(
    workplace: Workplace, start: Start, folder: Path, rng: random.Random, result: SoakResult, undisturbed: _Undisturbed
) -> None:
    """Start one run again and again, with a random fault each time, until it is complete."""
    notes = workplace.folder / "soak" / "happened.json"
    for number in range(MOST_STARTS):
        trial, log = f"soak-{result.n_runs}-{number}", workplace.folder / "soak" / f"{number}.log"
        phase = rng.choice(PHASES)
        call = rng.randint(1, MOST_CALLS.get(phase, 1))
        plan = FaultPlan(rng.choice(FAULTS), phase, rng.randrange(RANKS), call, folder, notes)
        notes.unlink(missing_ok=True)
        process = workplace.launch(start.line(BROKEN, folder), log, trial, {PLAN_VARIABLE: plan.to_json()})
        wait_for(process, notes, END_SECONDS + STALL_SECONDS)
        undisturbed.look()
        result.n_starts += 1
        if notes.exists():
            result.n_faults += 1
            result.faults[plan.action] = result.faults.get(plan.action, 0) + 1
        if process.poll() is None or traces.wait_for_end(trial, 3):
            result.problems.append(f"{plan.action} in {phase}, call {call}, rank {plan.rank}: no end")
            end_processes(process, trial, log)
        elif process.returncode == 0:
            return
        elif process.returncode not in {1, STOPPED, KILLED}:
            result.problems.append(f"{plan.action} in {phase}, call {call}: exit code {process.returncode}")
    result.problems.append(f"run {result.n_runs} is not complete after {MOST_STARTS} starts")


class _Undisturbed:
    """A run that nothing happens to, whose ranks are looked at now and then."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace, self._trial = workplace, "soak-undisturbed"
        self._folder = workplace.folder / "soak" / "undisturbed"
        self.samples: dict[int, list[Sample]] = {}
        self.exit_code: int | None = None

    def __enter__(self) -> _Undisturbed:
        settings = (f"training.epochs={UNDISTURBED_EPOCHS}", "checkpoint.every_epochs=20", "checkpoint.keep_last=2")
        line = Start(2, settings=settings).line(HPC_SPARSE, self._folder)
        self._started = self._looked_at = time.monotonic()
        self._process = self._workplace.launch(line, self._folder.with_suffix(".log"), self._trial)
        return self

    def __exit__(self, *_: object) -> None:
        self.look()
        traces.kill(self._ranks()[:1], signal.SIGUSR1)
        self.exit_code = self._process.wait(timeout=120)

    def look(self) -> None:
        """Sample the memory and the open files of every rank, if it is time again."""
        now = time.monotonic()
        if now - self._looked_at < SECONDS_BETWEEN_SAMPLES:
            return
        self._looked_at = now
        for rank, process in enumerate(self._ranks()):
            self.samples.setdefault(rank, []).append(
                Sample(now - self._started, traces.rss_bytes(process), traces.n_open_files(process), self._epoch())
            )

    def _ranks(self) -> list[int]:
        return [number for number in sorted(traces.processes_of(self._trial)) if traces.is_rank(number)]

    def _epoch(self) -> int:
        with (self._folder / "metrics.jsonl").open("rb") as file:
            return sum(1 for _ in file)
