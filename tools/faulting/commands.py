"""The sub-commands of ``tools/faults``."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from faulting import soak_report, table
from faulting.catalogue import Trial, all_trials
from faulting.row import outcomes_of
from faulting.soak import soak as run_soak
from faulting.stored_outcomes import StoredOutcomes
from faulting.trial import Outcome
from faulting.workplace import Workplace

app = typer.Typer(help="Break real runs on purpose and look at how they end.", no_args_is_help=True)

Only = Annotated[str, typer.Option(help="A regular expression; only trials whose name it is found in.")]
Work = Annotated[Path | None, typer.Option(help="Where the runs go; a temporary folder by default.")]
Output = Annotated[Path | None, typer.Option(help="Markdown file to write.")]


@app.command()
def matrix(
    only: Only = "",
    every: Annotated[int, typer.Option(min=1, help="Try one in EVERY trials.")] = 1,
    work: Work = None,
    output: Output = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time; each has two or three ranks.")] = 1,
    listing: Annotated[bool, typer.Option("--list", help="Print the names of the trials only.")] = False,
) -> None:
    """Try every fault in every phase; exit code 1 if anything ended other than it should.

    With the same --work, trials that went well are not repeated.
    """
    trials = [trial for trial in all_trials() if re.search(only, trial.name)][::every]
    if listing:
        print("\n".join(trial.name for trial in trials))
        return
    folder = work or Path(tempfile.mkdtemp(prefix="faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    stored = StoredOutcomes(folder / "outcomes.json")
    outcomes = []
    for number, outcome in enumerate(outcomes_of(trials, stored, folder, jobs), 1):
        outcomes.append(outcome)
        stored.add(outcome)
        print(f"{number}/{len(trials)} {_line(outcome.trial, outcome)}", flush=True)
        if output is not None:
            output.write_text(table.report(sorted(outcomes, key=lambda each: trials.index(each.trial))))
    print("\n".join(table.totals(outcomes)))
    raise typer.Exit(any(outcome.problems for outcome in outcomes))


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.1, help="For how long.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the faults' order.")] = 0,
    work: Work = None,
    output: Output = None,
) -> None:
    """Break and resume runs at random for a while; exit code 1 if anything was lost, hung or came out differently."""
    result = run_soak(Workplace(work or Path(tempfile.mkdtemp(prefix="soak-"))), minutes, seed)
    text = soak_report.report(result)
    print(text)
    if output is not None:
        output.write_text(text)
    raise typer.Exit(bool(result.problems))


def _line(trial: Trial, outcome: Outcome) -> str:
    verdict = "; ".join(outcome.problems) or "ok"
    return f"{trial.name}: exit code {outcome.exit_code} after {outcome.seconds:.1f} s: {verdict}"
