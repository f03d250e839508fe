"""Faults injected into real runs: a part of what ``tools/faults matrix`` tries, whose results are in tools/results."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ENDS = """
import atexit, sys, time, typer
from hpc_sparse.cli import guard as cli
from hpc_sparse.errors import InputError, PlannedStop
from hpc_sparse.parallel.collectives import on_root

cli.END_SECONDS, cli.END_WELL_SECONDS, cli.GRACE_SECONDS = 1, 2, 0.5
is_last, way = cli.launched_rank() == 1, sys.argv[1]

def work(ctx):
    if is_last and way == "stuck at exit":
        atexit.register(time.sleep, 100)
    if way == "alone":
        if is_last:
            raise InputError("wrong here")
        on_root(ctx, lambda: None)
    if sys.argv[2] == "failed":
        raise InputError("wrong everywhere")
    if sys.argv[2] == "stopped":
        raise PlannedStop("as planned")

try:
    cli.guarded(work)
except typer.Exit as end:
    sys.exit(end.exit_code)
"""
"""Ways to leave a command of two ranks."""


@pytest.fixture(scope="session")
def faulting():
    """The modules of ``tools/faults``."""
    sys.path.insert(0, str(ROOT / "tools"))
    yield lambda name: importlib.import_module(f"faulting.{name}")
    sys.path.remove(str(ROOT / "tools"))


@pytest.fixture(scope="session")
def workplace_of_faults(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.mark.parametrize(
    "name",
    [
        "raise-sync-local_sgd-auto-2r0-c1",
        "kill-publishing-local_sgd-auto-2r0-c2",
        "stop-step-local_sgd-auto-2r0-c1",
        "stop-checkpoint-local_sgd-auto-2r1-c1",
        "SIGTERM_to_a_rank-evaluation-local_sgd-auto-2r1-c1",
        "disk_full-checkpoint-local_sgd-mpio-2r0-c1",
        "folder_renamed-step-local_sgd-auto-2r0-c1",
        "infinity-step-local_sgd-auto-2r1-c4",
    ],
)
def test_a_fault_ends_the_job_with_one_message_and_loses_nothing(run, workplace_of_faults, name):
    result = run(
        *("matrix", "--work", workplace_of_faults, "--only", f"^{name}$"),
        command=(sys.executable, str(ROOT / "tools/faults")),
        cwd=workplace_of_faults,
        timeout=150,
    )
    assert f"{name}: exit code" in result.stdout
    for count in ("hangs", "checkpoints lost", "silent differences", "trials with anything else amiss"):
        assert f"{count}: 0" in result.stdout
    assert "faults injected: 1" in result.stdout


def test_a_trial_that_goes_wrong_is_seen(faulting, workplace_of_faults):
    """The judge itself: a fault that never happens, and a run that ends with another exit code than the right one."""
    catalogue, trial, workplace = (faulting(name) for name in ("catalogue", "trial", "workplace"))
    place = workplace.Workplace(workplace_of_faults)
    never = trial.try_fault(place, catalogue.Trial("raise", "step", 1, call=10**6))
    assert never.problems[0] == "the fault did not happen; exit code 0"

    class WronglyExpected(catalogue.Trial):
        exit_codes = (3,)
        message = "something else"

    wrong = trial.try_fault(place, WronglyExpected("raise", "step", 1))
    assert wrong.problems == ["exit code 1, expected 3", "standard error does not say 'something else'"]


def test_the_catalogue_has_every_fault_in_every_phase_and_each_only_once(faulting):
    actions, catalogue, phases = (faulting(name) for name in ("actions", "catalogue", "phases"))
    trials = catalogue.all_trials()
    assert len(trials) >= 200
    assert len({trial.name for trial in trials}) == len(trials)
    assert {trial.fault for trial in trials} == set(actions.ACTIONS)
    assert {trial.phase for trial in trials} == set(phases.PHASES)
    assert {trial.ranks for trial in trials} == {1, 2, 4}
    assert all(0 <= trial.rank < trial.ranks for trial in trials)
    for trial in trials:
        re.compile(trial.message)


def test_every_phase_is_where_the_package_has_it(faulting, monkeypatch):
    phases = faulting("phases")
    monkeypatch.setattr(phases, "setattr", lambda *_: None, raising=False)
    for phase, place in phases.PHASES.items():
        importlib.import_module(place.partition(":")[0])
        if ":" in place:
            phases.arm(phase, 1, lambda arguments: None)


@pytest.mark.parametrize(("result", "code"), [("failed", 2), ("stopped", 75)])
def test_a_job_of_which_a_rank_does_not_end_is_ended_with_the_code_of_its_work(run, tmp_path, result, code):
    # As a library may do that cleans up; the timer also ends a process that is stuck outside Python.
    line = ("-c", ENDS, "stuck at exit", result)
    ended = run(*line, command=(sys.executable,), ranks=2, cwd=tmp_path, code=code, timeout=60)
    assert ("hpc-sparse: wrong everywhere" in ended.stderr) == (result == "failed")


def test_a_job_that_has_done_its_work_is_ended_although_a_rank_does_not_end(launch, tmp_path):
    job = launch("-c", ENDS, "stuck at exit", "done", command=(sys.executable,), ranks=2, cwd=tmp_path)
    _, errors = job.communicate(timeout=60)
    # Each rank leaves with 0; Open MPI makes 1 of it if it sees that one has not taken leave of MPI.
    assert job.returncode in {0, 1}, f"exit code {job.returncode}\n{errors}"


def test_a_rank_that_fails_while_another_waits_in_a_barrier_ends_the_job(run, tmp_path):
    ended = run("-c", ENDS, "alone", "", command=(sys.executable,), ranks=2, cwd=tmp_path, code=2, timeout=60)
    assert "hpc-sparse: wrong here (rank 1 of 2 alone)" in ended.stderr
