"""What the MPI tests share: their context, and an mpirun for all tests of one file on one number of ranks.

pytest-isolate-mpi starts an mpirun for every test, most of whose time is Python starting up on every rank. Here the
tests of a file that want as many ranks run in one, one after the other. Where one of them does not come to an end on
every rank, it has failed, and those after it run in another mpirun.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_isolate_mpi._subsession import assemble_sub_pytest_cmd

from hpc_sparse.errors import HpcSparseError
from hpc_sparse.parallel.collectives import barrier, gather_objects
from hpc_sparse.parallel.context import ParallelContext, launched_rank

IS_RANK = "PYTEST_ISOLATE_MPI_IS_FORKED"
REPORTS = "PYTEST_MPI_REPORTS_PATH"
"""Variables by which a session of pytest-isolate-mpi is told that it is a rank, and where it writes its reports."""


@pytest.fixture
def ctx(comm: Any) -> Iterator[ParallelContext]:
    """All ranks of the test, which leave it together."""
    context = ParallelContext.from_comm(comm, threads=1)
    yield context
    gc.collect()
    barrier(context)


@pytest.fixture
def same_error_everywhere(ctx: ParallelContext) -> Callable[[type[HpcSparseError], Callable[[], Any]], str]:
    """Run what must fail with the same error on all ranks; the error's type and message."""

    def run(error: type[HpcSparseError], action: Callable[[], Any]) -> str:
        message = "no error"
        try:
            action()
        except error as caught:
            message = f"{type(caught).__name__}: {caught}"
        messages = gather_objects(ctx, message)
        assert len(set(messages)) == 1, messages
        assert message.startswith(error.__name__), message
        return message

    return run


def pytest_itemcollected(item: pytest.Item) -> None:
    """Where groups are started: no limit for the first test of one, which seems to take as long as all."""
    if IS_RANK not in os.environ:
        item.add_marker(pytest.mark.timeout(0))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Where groups are started: later than pytest-isolate-mpi is registered, whose place they take."""
    if IS_RANK not in os.environ and not session.config.getoption("no_mpi_isolation"):
        session.config.pluginmanager.register(Groups())


class Groups:
    """Reports what each test came to in the mpirun of its group, which the first test of the group starts."""

    def __init__(self) -> None:
        self._reports: dict[str, list[pytest.TestReport]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Run and report a test, if it is one for several ranks."""
        if item.get_closest_marker("mpi") is None:
            return None
        if item.nodeid not in self._reports:
            self._reports |= _run_group(_group_of(item))
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports.pop(item.nodeid):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True


def pytest_runtest_logfinish(nodeid: str) -> None:
    """On a rank: keep the reports of a test, which the next one would replace."""
    if IS_RANK in os.environ:
        folder, rank = Path(os.environ[REPORTS]), launched_rank()
        number = len(list(folder.glob(f"*-{rank}")))
        (folder / f"{rank}").rename(folder / f"{number}-{rank}")


def _ranks_of(item: pytest.Item) -> int:
    return item.callspec.params["mpi_ranks"]  # type: ignore[attr-defined,no-any-return]


def _group_of(item: pytest.Item) -> list[pytest.Item]:
    """The test and those after it that run with it."""
    key, items = (item.path, _ranks_of(item)), item.session.items
    return [each for each in items[items.index(item) :] if (each.path, _ranks_of(each)) == key]


def _run_group(group: list[pytest.Item]) -> dict[str, list[pytest.TestReport]]:
    """Reports of the tests of a group, up to the first one that did not come to an end."""
    command = assemble_sub_pytest_cmd(group[0].config.option, group[0].nodeid)
    command = ["mpirun", "-n", str(_ranks_of(group[0])), *command, *(each.nodeid for each in group[1:])]
    seconds = group[0].config.getoption("mpi_default_test_timeout")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, tempfile.TemporaryFile("w+") as output:
        environment = {**os.environ, IS_RANK: "1", REPORTS: name}
        with subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=group[0].config.rootpath
        ) as process:
            reason = _wait(process, Path(name), seconds)
        reports = _read_reports(Path(name), group)
        if len(reports) < len(group):
            output.seek(0)
            broken = group[len(reports)]
            reports[broken.nodeid] = [_failure(broken, reason, output.read())]
    return reports


def _wait(process: subprocess.Popen[bytes], folder: Path, seconds: float) -> str:
    """Wait for the end, but for no test longer than its limit; why a test that is not reported has failed."""
    n_files, last = -1, 0.0
    while process.poll() is None:
        if (n_now := len(list(folder.iterdir()))) != n_files:
            n_files, last = n_now, time.monotonic()
        elif time.monotonic() - last > seconds:
            process.kill()
            return f"no end within {seconds:g} s"
        time.sleep(0.02)
    return f"a rank ended before the test; exit code {process.returncode}"


def _read_reports(folder: Path, group: list[pytest.Item]) -> dict[str, list[pytest.TestReport]]:
    """Reports of the tests that ended on every rank, in their order."""
    reports: dict[str, list[pytest.TestReport]] = {}
    for number, item in enumerate(group):
        files = [folder / f"{number}-{rank}" for rank in range(_ranks_of(item))]
        if not all(file.exists() for file in files):
            break
        reports[item.nodeid] = [report for file in files for report in pickle.loads(file.read_bytes())]
    return reports


def _failure(item: pytest.Item, reason: str, output: str) -> pytest.TestReport:
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", f"{item.nodeid}: {reason}", "call")
    report.sections.append(("Captured output of all ranks", output))
    return report
