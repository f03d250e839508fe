"""Trying one fault: a run in which it happens, a look at what is left, and the run resumed without it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faulting import traces
from faulting.actions import gone
from faulting.catalogue import Trial
from faulting.plan import PLAN_VARIABLE, FaultPlan
from faulting.workplace import BROKEN, HPC_SPARSE, Start, Workplace, differences

START_SECONDS, END_SECONDS, LEAVE_SECONDS = 120.0, 15.0, 3.0
"""Until the fault has happened, from then to the end, and from there until no process is left."""
STALL_SECONDS = 4.0
DISK_MEGABYTES = 4
RESUME_SECONDS = 120.0


@dataclass
class Outcome:
    """Outcome of a trial.

    Attributes
    ----------
    trial : Trial
    problems : list of str
        Deviations from the expected outcome.
    seconds : float
        From the fault to the end of the job.
    exit_code : int or None
        None if it had to be ended.
    message : str
        The line that says what happened.
    is_hang, is_lost, is_different : bool
        It did not end in time; a checkpoint is gone or damaged; the resumed run is not the undisturbed one.
    """

    trial: Trial
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    exit_code: int | None = None
    message: str = ""
    is_hang: bool = False
    is_lost: bool = False
    is_different: bool = False


def try_fault(workplace: Workplace, trial: Trial) -> Outcome:
    """Try one fault; its files stay where they are if anything was wrong."""
    folder = workplace.folder / "trials" / trial.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    outcome = Outcome(trial)
    with _disk(folder, is_small=trial.fault == "disk full") as disk:
        run_folder = disk / "run"
        start = _start(trial)
        workplace.half_done(start, run_folder)
        _break(workplace, trial, start, folder, run_folder, outcome)
        if not outcome.problems or not outcome.is_hang:
            _take_fault_away(trial, run_folder)
            _look_at_checkpoints(workplace, trial, folder, run_folder, outcome)
            _resume(workplace, trial, start, folder, run_folder, outcome)
    if not outcome.problems:
        shutil.rmtree(folder)
    return outcome


def _start(trial: Trial) -> Start:
    # A run this short would be over before it had to follow a request to stop: ranks ask each other in every step.
    setting = f"stall_timeout={STALL_SECONDS}" if trial.fault == "stop" else "stop_within=0.000001"
    return Start(trial.ranks, trial.strategy, trial.hdf5, trial.is_under_mpirun, (f"runtime.{setting}",))


@contextmanager
def _disk(folder: Path, *, is_small: bool):
    """The folder itself, or a small disk in it that can be filled."""
    if not is_small:
        yield folder
        return
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(disk)]
    is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield disk
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _break(workplace: Workplace, trial: Trial, start: Start, folder: Path, run_folder: Path, outcome: Outcome) -> None:
    """Run into the fault and judge the end of the job."""
    notes, log = folder / "happened.json", folder / "broken.log"
    ballast = run_folder.parent / "ballast" if run_folder.parent.is_mount() else None
    plan = FaultPlan(trial.fault, trial.phase, trial.rank, trial.call, run_folder, notes, ballast)
    line = start.line(BROKEN, run_folder)
    if trial.fault == "learning rate 1e30":
        line += ["--set", "optimizer.learning_rate=1e30"]
    process = workplace.launch(line, log, trial.name, {PLAN_VARIABLE: plan.to_json()})
    allowed = END_SECONDS + (STALL_SECONDS if trial.fault == "stop" else 0.0)
    wait_for(process, notes, allowed)
    outcome.seconds = time.time() - json.loads(notes.read_text())["time"] if notes.exists() else 0.0
    if process.poll() is None:
        outcome.is_hang = notes.exists()
        outcome.problems.append(f"no end within {allowed:.0f} s" if notes.exists() else "the fault did not happen")
        end_processes(process, trial.name, log)
        return
    outcome.exit_code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    if not notes.exists():
        outcome.problems.append(f"the fault did not happen; exit code {outcome.exit_code}")
    elif outcome.exit_code not in trial.exit_codes:
        expected = " or ".join(str(code) for code in trial.exit_codes)
        outcome.problems.append(f"exit code {outcome.exit_code}, expected {expected}")
    if left := traces.wait_for_end(trial.name, LEAVE_SECONDS):
        outcome.problems.append(f"{len(left)} processes left")
        outcome.is_hang = True
        end_processes(process, trial.name, log)
    _judge_message(trial, log.with_suffix(".err").read_text(errors="replace"), outcome)


def wait_for(process: subprocess.Popen[bytes], notes: Path, allowed: float) -> None:
    """Wait for the end of a run, or until it should have ended."""
    has_happened, awake = False, traces.AwakeClock()
    while process.poll() is None and awake.seconds < (allowed if has_happened else START_SECONDS):
        if not has_happened and notes.exists():
            has_happened, awake = True, traces.AwakeClock()
        awake.sleep()


def end_processes(process: subprocess.Popen[bytes], trial: str, log: Path) -> None:
    """Have every process of a hanging run say where it is, then end it."""
    found = traces.processes_of(trial)
    with log.with_suffix(".err").open("a") as file:
        file.write("---- hangs; processes:\n")
        file.writelines(f"{traces.describe(number)}\n" for number in found)
    traces.kill([number for number in found if traces.is_rank(number)], signal.SIGUSR2)
    time.sleep(1)
    traces.kill(traces.processes_of(trial), signal.SIGKILL)
    process.wait()


def _judge_message(trial: Trial, errors: str, outcome: Outcome) -> None:
    """One message, which names what happened and where."""
    if trial.message:
        found = re.search(f".*(?:{trial.message}).*", errors, re.DOTALL if trial.fault == "raise" else 0)
        outcome.message = _shortened(errors, trial.message)
        if found is None:
            outcome.problems.append(f"standard error does not say {trial.message!r}")
    own = re.findall(r"^hpc-sparse: .*", errors, re.MULTILINE)
    n_messages = len(own) + errors.count("Traceback (most recent call last)")
    if n_messages > 1:
        outcome.problems.append(f"{n_messages} messages")


def _shortened(errors: str, pattern: str) -> str:
    last_part = pattern.rsplit(".*", 1)[-1]
    lines = [line.strip() for line in errors.splitlines()]
    fitting = [line for line in lines if re.search(pattern, line)] or [line for line in lines if last_part in line]
    return fitting[0][:200] if fitting else ""


def _take_fault_away(trial: Trial, run_folder: Path) -> None:
    if trial.fault == "disk full":
        (run_folder.parent / "ballast").unlink(missing_ok=True)
    if trial.fault == "folder renamed" and gone(run_folder).exists():
        # What a rank has made in its place since holds nothing.
        shutil.rmtree(run_folder, ignore_errors=True)
        gone(run_folder).rename(run_folder)


def _look_at_checkpoints(workplace: Workplace, trial: Trial, folder: Path, run_folder: Path, outcome: Outcome) -> None:
    """The newest checkpoint of when the fault happened, or a later one, is there and can be used."""
    notes = folder / "happened.json"
    if trial.fault == "folder removed" or not notes.exists():
        return
    before, newest = json.loads(notes.read_text()), traces.newest_checkpoint(run_folder)
    if newest is None or traces.position(newest.name) < traces.position(before["newest"]):
        outcome.is_lost = True
        outcome.problems.append(f"{before['newest']} is lost")
        return
    if newest.name == before["newest"] and traces.digest(newest) != before["digest"]:
        outcome.is_lost = True
        outcome.problems.append(f"{newest.name} has changed")
    if strange := traces.unexpected_files(run_folder):
        outcome.problems.append(f"files left: {', '.join(strange)}")
    for command in (["info", str(newest)], ["evaluate", str(newest), "data.h5"]):
        if error := _error_of(workplace, command, newest):
            outcome.is_lost = True
            outcome.problems.append(f"{command[0]} {newest.name}: {error}")


def _error_of(workplace: Workplace, command: list[str], newest: Path) -> str:
    """Error that ``hpc-sparse info`` or ``evaluate`` reports for a checkpoint; run in this process."""
    from hpc_sparse.errors import HpcSparseError
    from hpc_sparse.models.inspection import describe_file, evaluate_checkpoint
    from hpc_sparse.parallel.context import ParallelContext
    from hpc_sparse.storage.checkpoint.info import read_checkpoint_info

    try:
        if command[0] == "info":
            describe_file(newest)
        elif not read_checkpoint_info(newest).n_replicas:
            evaluate_checkpoint(ParallelContext.serial(threads=1), newest, workplace.folder / "data.h5")
    except HpcSparseError as error:
        return str(error)
    return ""


def _resume(workplace: Workplace, trial: Trial, start: Start, folder: Path, run_folder: Path, outcome: Outcome) -> None:
    """The run goes on without the fault and ends like the undisturbed one."""
    log = folder / "resumed.log"
    if outcome.exit_code == 0:
        return
    process = workplace.launch(start.line(HPC_SPARSE, run_folder), log, trial.name)
    awake = traces.AwakeClock()
    while (code := process.poll()) is None and awake.seconds < RESUME_SECONDS:
        awake.sleep()
    if code is None:
        outcome.is_hang = True
        outcome.problems.append("the resumed run does not end")
        end_processes(process, trial.name, log)
        return
    if code:
        outcome.problems.append(f"the resumed run ends with exit code {code}")
        outcome.is_lost = True
        return
    partial = [path.name for path in run_folder.rglob("*") if traces.is_partial(path)]
    if partial:
        outcome.problems.append(f"unfinished files stay: {', '.join(partial)}")
    if trial.strategy != "wasap" and (unlike := differences(run_folder, workplace.reference(start))):
        outcome.is_different = True
        outcome.problems.append(f"differs from the undisturbed run: {', '.join(unlike[:3])}")
