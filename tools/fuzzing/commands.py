"""The command line of ``tools/fuzz``."""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
import typer

from fuzzing.trials import ACCEPTED, REFUSED, TrialResults, be_child, run_trials

VERSIONS = {
    "Python": platform.python_version(),
    "h5py": h5py.__version__,
    "HDF5": h5py.version.hdf5_version,
    "NumPy": np.__version__,
}

Minutes = Annotated[float, typer.Option(min=0.0, help="How long.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Instead: how many trials.", show_default=False)]
First = Annotated[int, typer.Option(min=0, help="Number of the first trial; each number is always the same trial.")]
Unscreened = Annotated[bool, typer.Option(help="Leave out the check of HDF5's structure, to see what it is good for.")]
Only = Annotated[list[str] | None, typer.Option(help="Only this reader; may be repeated.", show_default=False)]
Output = Annotated[Path | None, typer.Option(help="File for the table.", show_default=False)]


def main() -> None:
    """Entry point."""
    typer.run(fuzz)


def fuzz(
    minutes: Minutes = 1.0,
    trials: Trials = None,
    first: First = 0,
    output: Output = None,
    unscreened: Unscreened = False,
    only: Only = None,
    child: Annotated[int | None, typer.Option(hidden=True)] = None,
    log: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Give damaged and hostile files and arrays to every reader: each must accept or refuse them, and nothing else.

    Failures: the process dies; an error is no InputError, or of arrays no ValueError; a trial takes more than 256 MiB
    or 20 s; a message is long or has control characters. Ends with 1 if there was one.
    """
    if child is not None and log is not None:
        be_child(child, log, None if trials is None else child + trials, is_screened=not unscreened, only=only or ())
        return
    start = time.monotonic()
    if trials is None:
        results = run_trials(first, deadline=start + 60 * minutes, is_screened=not unscreened, only=only or ())
    else:
        results = run_trials(first, stop=first + trials, is_screened=not unscreened, only=only or ())
    lines = table(results, first, time.monotonic() - start)
    lines[0] += ", HDF5 files not screened" if unscreened else ""
    print("\n".join(lines))
    if output is not None:
        output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.exit(bool(results.failures))


def table(results: TrialResults, first: int, seconds: float) -> list[str]:
    """Counts by reader and outcome, the failures, and what they were made with."""
    subjects = sorted({subject for subject, _ in results.counts})
    others = sorted({outcome for _, outcome in results.counts} - {ACCEPTED, REFUSED})
    outcomes = [ACCEPTED, REFUSED, *others]
    n_trials = sum(results.counts.values())
    lines = [
        f"tools/fuzz: trials {first} to {first + n_trials - 1} in {seconds:.0f} s",
        ", ".join(f"{name} {version}" for name, version in VERSIONS.items()),
        "",
        f"{'reader':20}" + "".join(f"{outcome:>20}" for outcome in outcomes),
    ]
    lines += [
        f"{subject:20}" + "".join(f"{results.counts[subject, outcome]:>20,}" for outcome in outcomes)
        for subject in subjects
    ]
    lines += ["", f"failures: {len(results.failures)}", *results.failures]
    return lines
