"""A row of trials, some of them at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from faulting.catalogue import Trial
from faulting.stored_outcomes import StoredOutcomes
from faulting.trial import Outcome, try_fault
from faulting.workplace import Workplace

_workplace: Workplace


def outcomes_of(trials: Sequence[Trial], stored: StoredOutcomes, folder: Path, n_jobs: int) -> Iterator[Outcome]:
    """The outcome of each trial as soon as it is known, ``n_jobs`` of them tried at the same time.

    Each job has a place of its own in ``folder``, as undisturbed runs are made where they are first needed.
    """
    known = [outcome for trial in trials if (outcome := stored.find(trial)) is not None]
    yield from known
    names = {outcome.trial.name for outcome in known}
    context = get_context("spawn")
    places = context.SimpleQueue()
    for number in range(n_jobs):
        places.put(folder / f"job-{number}")
    with ProcessPoolExecutor(n_jobs, context, _settle, (places,)) as pool:
        tried = [pool.submit(_try, trial) for trial in trials if trial.name not in names]
        yield from (each.result() for each in as_completed(tried))


def _settle(places) -> None:
    global _workplace  # noqa: PLW0603 - what a process of a pool has reaches its tasks in no other way
    _workplace = Workplace(places.get())


def _try(trial: Trial) -> Outcome:
    return try_fault(_workplace, trial)
