"""Trials in sequence in a child process, and the parent that replaces a child that dies.

Trial ``n`` is the same in every run of the program. The child logs the outcome of each. Its limits are seconds per
trial, and memory beyond that of its loaded libraries.
"""

from __future__ import annotations

import math
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzzing.subjects import Subject, make_subjects
from hpc_sparse.errors import InputError
from hpc_sparse.storage.container import file as container
from hpc_sparse.storage.container.identity import FileIdentity

ACCEPTED, REFUSED = "accepted", "refused"
MEMORY_BYTES = 256 * 1024 * 1024
"""Memory limit of a trial; the files have some KiB."""

SECONDS = 20
"""Processor time that a trial may take."""

SECONDS_ASLEEP = 300
"""Wall-clock time that a trial may take, also on a busy machine."""

LONGEST_MESSAGE = 2000
PROGRAM = Path(__file__).parents[1] / "fuzz"


@dataclass
class TrialResults:
    """Counts of the outcomes per reader, and the trials with an outcome that is a failure."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, number: int, subject: str, outcome: str) -> None:
        """Count one trial."""
        kind = outcome if outcome in (ACCEPTED, REFUSED) else outcome.partition(":")[0]
        self.counts[subject, kind] += 1
        if kind not in (ACCEPTED, REFUSED):
            self.failures.append(f"trial {number}: {subject}: {outcome}")


def run_trials(
    first: int,
    *,
    stop: int | None = None,
    deadline: float = math.inf,
    is_screened: bool = True,
    only: Sequence[str] = (),
) -> TrialResults:
    """Run trials from number ``first`` on, up to number ``stop`` or until ``deadline`` on the monotonic clock.

    With names of readers, ``only`` those. Unscreened, HDF5 opens files whose structure nobody has looked at, which
    shows what the look is good for.
    """
    results = TrialResults()
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        while first != stop and time.monotonic() < deadline:
            log.write_text("")
            options = [] if is_screened else ["--unscreened"]
            options += [option for name in only for option in ("--only", name)]
            status = _watch_child(first, log, stop, deadline, options)
            lines = [line.split("\t") for line in log.read_text().splitlines()]
            for number, subject, outcome in (line for line in lines if len(line) == 3):
                results.add(int(number), subject, outcome)
            first += sum(len(line) == 3 for line in lines)
            if status and lines and len(lines[-1]) == 2:
                results.add(first, lines[-1][1], f"died of {_name_of(status)}")
                first += 1
            elif status:
                raise RuntimeError(f"the trials could not be started: exit code {status}")
    return results


def be_child(first: int, log: Path, stop: int | None, *, is_screened: bool, only: Sequence[str] = ()) -> None:
    """Run trials up to number ``stop``, or for ever: the parent ends this process."""
    if not is_screened:
        container.check_plain = lambda path: FileIdentity.of(path.stat())
    subjects = [subject for subject in make_subjects() if not only or subject.name in only]
    warnings.simplefilter("ignore")
    with TemporaryDirectory() as folder, log.open("a", buffering=1) as lines:
        _warm_up(subjects, Path(folder))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = first
        while number != stop:
            chance = random.Random(number)
            subject = chance.choice(subjects)
            lines.write(f"{number}\t{subject.name}")
            lines.flush()
            lines.write(f"\t{outcome_of(subject, subject.spoilt(chance), Path(folder))}\n")
            number += 1


def outcome_of(subject: Subject, content: bytes, folder: Path) -> str:
    """Outcome of one reader on one file."""
    path = folder / subject.file_name
    path.write_bytes(content)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, SECONDS_ASLEEP)
    try:
        subject.read(path)
    except InputError as error:
        message = str(error)
        if not message.isprintable() and not message.replace("\n", "").isprintable():
            return f"message steers a terminal: {message!r}"
        return REFUSED if len(message) < LONGEST_MESSAGE else f"long message: {message[:200]!r}"
    except Exception as error:  # noqa: BLE001  (that is what is looked for)
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"raised {type(error).__name__}: {str(error)[:200]!r} at {place.filename}:{place.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        path.unlink()
    return ACCEPTED


def _warm_up(subjects: list[Subject], folder: Path) -> None:
    """Read every sound file, for which everything is compiled."""
    for subject in subjects:
        for seed in subject.seeds:
            (folder / subject.file_name).write_bytes(seed)
            try:
                subject.read(folder / subject.file_name)
            except Exception:  # noqa: BLE001  (a trial of the same kind will tell)
                continue


def _watch_child(first: int, log: Path, stop: int | None, deadline: float, options: Sequence[str]) -> int:
    options = [*options] if stop is None else [*options, "--trials", str(stop - first)]
    child = subprocess.Popen([sys.executable, str(PROGRAM), "--child", str(first), "--log", str(log), *options])
    try:
        while child.poll() is None:
            time.sleep(0.05)
            if time.monotonic() >= deadline:
                child.kill()
                child.wait()
                return 0
    finally:
        child.kill()
        child.wait()
    return child.returncode


def _name_of(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit code {status}"
