"""Outcomes as Markdown: totals, a table of fault x phase x ranks, and what standard error says."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report import machine

from faulting.catalogue import RANKS
from faulting.trial import END_SECONDS, STALL_SECONDS, Outcome

INTRODUCTION = (
    "Written by `tools/faults matrix --output tools/results/faults.md`. Each trial: a run that goes on from its second "
    "epoch; the fault, injected from outside into the named phase of one rank; the job has to end within {end:.0f} s "
    "(a stopped rank: {end:.0f} s after `runtime.stall_timeout` = {stall:.0f} s) with the right exit code and one "
    "message, and leave no process; the newest checkpoint has to be whole, which `info` and `evaluate` try; and the "
    "run, resumed without the fault, has to end with the weights, momenta and metrics of the undisturbed one bit for "
    "bit (`wasap`: has to end)."
)
CELL = "A cell: exit codes, and the longest time from the fault to the end of the job; numbers of trials above one."


def totals(outcomes: Sequence[Outcome]) -> list[str]:
    """Numbers of faults, and of what went wrong."""
    return [
        f"faults injected: {len(outcomes)}",
        f"hangs: {sum(outcome.is_hang for outcome in outcomes)}",
        f"checkpoints lost: {sum(outcome.is_lost for outcome in outcomes)}",
        f"silent differences: {sum(outcome.is_different for outcome in outcomes)}",
        f"trials with anything else amiss: {sum(_is_otherwise_amiss(outcome) for outcome in outcomes)}",
    ]


def report(outcomes: Sequence[Outcome]) -> str:
    """The whole file."""
    versions = ", ".join(f"{name} {version}" for name, version in machine().items())
    lines = ["# Injected faults", "", INTRODUCTION.format(end=END_SECONDS, stall=STALL_SECONDS), ""]
    lines += [f"- {line}" for line in totals(outcomes)]
    for strategy in dict.fromkeys(outcome.trial.strategy for outcome in outcomes):
        lines += ["", f"## {strategy}", "", CELL, "", *_table([o for o in outcomes if o.trial.strategy == strategy])]
    if amiss := [outcome for outcome in outcomes if outcome.problems]:
        lines += ["", "## Amiss", "", *(f"- {outcome.trial.name}: {'; '.join(outcome.problems)}" for outcome in amiss)]
    lines += ["", "## Messages", "", *_messages(outcomes)]
    return "\n".join([*lines, "", versions, ""])


def _is_otherwise_amiss(outcome: Outcome) -> bool:
    return bool(outcome.problems) and not (outcome.is_hang or outcome.is_lost or outcome.is_different)


def _table(outcomes: Sequence[Outcome]) -> list[str]:
    ranks = [n for n in RANKS if any(outcome.trial.ranks == n for outcome in outcomes)]
    head = ["| fault | phase | " + " | ".join(f"{n} rank{'s' if n > 1 else ''}" for n in ranks) + " |"]
    lines = [*head, "|---" * (2 + len(ranks)) + "|"]
    for fault, phase in dict.fromkeys((outcome.trial.fault, outcome.trial.phase) for outcome in outcomes):
        row = [o for o in outcomes if (o.trial.fault, o.trial.phase) == (fault, phase)]
        cells = [_cell([outcome for outcome in row if outcome.trial.ranks == n]) for n in ranks]
        lines.append(f"| {fault} | {phase} | {' | '.join(cells)} |")
    return lines


def _cell(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return ""
    codes = ", ".join(dict.fromkeys(str(outcome.exit_code) for outcome in outcomes))
    number = f" ({len(outcomes)})" if len(outcomes) > 1 else ""
    amiss = " **amiss**" if any(outcome.problems for outcome in outcomes) else ""
    return f"{codes}, {max(outcome.seconds for outcome in outcomes):.1f} s{number}{amiss}"


def _messages(outcomes: Sequence[Outcome]) -> list[str]:
    """One example for each fault."""
    examples: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.message:
            examples.setdefault(outcome.trial.fault, outcome.message)
    return [f"- {fault}: `{message}`" for fault, message in examples.items()]
