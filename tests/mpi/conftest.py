"""What the MPI tests share: their context, and one mpirun for all tests on one number of ranks.

pytest-isolate-mpi starts an mpirun for each test, and most of its time is Python starting up on each rank. Here the
tests on equal numbers of ranks run in one mpirun, one after the other. The next test begins when every rank has ended
the last one. Where a test failed, or a rank did not come to its end, the tests after it run in a new mpirun: no test
inherits what a broken one left behind.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mpirun import on_ranks
from pytest_isolate_mpi._subsession import assemble_sub_pytest_cmd

from hpc_sparse.errors import HpcSparseError
from hpc_sparse.kernels.simd import machine
from hpc_sparse.parallel.collectives import barrier, gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext, launched_rank

IS_RANK = "PYTEST_ISOLATE_MPI_IS_FORKED"
REPORTS = "PYTEST_MPI_REPORTS_PATH"
"""Variables by which a session of pytest-isolate-mpi is told that it is a rank, and where it writes its reports."""
END_SECONDS = 20
"""How long an mpirun may take to end once its tests have; it is killed then, as nothing is tested any more."""


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


@pytest.fixture
def folder(
    request: pytest.FixtureRequest, ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]
) -> Path:
    """With the configuration of the test's file, and data."""

    def write() -> None:
        (mpi_tmp_path / "run.toml").write_text(request.module.CONFIG)
        write_small_data(mpi_tmp_path / "data.h5")

    on_root(ctx, write)
    return mpi_tmp_path


@pytest.fixture
def use_tile_width(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Iterable[int]], int]], None]:
    """Give a rule for the width of tiles, by the widths of layers, to all that ask for one."""

    def use(rule: Callable[[Iterable[int]], int]) -> None:
        for name, module in list(sys.modules.items()):
            if name.startswith("hpc_sparse.") and module is not machine and hasattr(module, "tile_width"):
                monkeypatch.setattr(module, "tile_width", rule)

    return use


@pytest.fixture
def narrow_tiles(use_tile_width: Callable[[Callable[[Iterable[int]], int]], None]) -> None:
    """Networks whose tiles are the narrowest, so that small batches have several."""
    use_tile_width(lambda _: machine.PADDING)


# ---- where mpirun is started ----------------------------------------------------------------------------------------


def ranks_of(item: pytest.Item) -> int:
    """The number of ranks that a test wants; 0 for a test without MPI."""
    if item.get_closest_marker("mpi") is None:
        return 0
    return item.callspec.params.get("mpi_ranks", 1) if hasattr(item, "callspec") else 1


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave the time limit of a test to its group, which ends what hangs."""
    if IS_RANK not in os.environ and ranks_of(item):
        item.add_marker(pytest.mark.timeout(0))


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Bring tests on equal numbers of ranks together; registered last, the group comes before pytest-isolate-mpi."""
    if IS_RANK in os.environ:
        session.config.pluginmanager.register(Rank(session))
    elif not session.config.getoption("no_mpi_isolation"):
        items.sort(key=ranks_of)
        session.config.pluginmanager.register(Groups(session))


class Group:
    """An mpirun that runs tests one after the other.

    Parameters
    ----------
    items
        The tests, all on the same number of ranks.
    """

    def __init__(self, items: list[pytest.Item]) -> None:
        self._items, self._n_ranks = items, ranks_of(items[0])
        self._n_reported = 0
        self._temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        folder, options = Path(self._temporary.name), items[0].config.option
        self._reports, self._output, tests = folder / "reports", folder / "output", folder / "tests"
        self._seconds = options.mpi_default_test_timeout
        self._reports.mkdir()
        tests.write_text("".join(f"{item.nodeid}\n" for item in items), encoding="utf-8")
        # Of -q the plugin makes an option without a letter.
        command = [word for word in assemble_sub_pytest_cmd(options, f"@{tests}") if word != "-"]
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                on_ranks(self._n_ranks, command),
                env={**os.environ, IS_RANK: "1", REPORTS: str(self._reports)},
                stdin=subprocess.DEVNULL,
                stdout=None if options.capture == "no" else output,
                stderr=subprocess.STDOUT,
                cwd=items[0].config.rootpath,
            )

    def is_next(self, item: pytest.Item) -> bool:
        """Whether this test is the one that runs now."""
        return self._n_reported < len(self._items) and self._items[self._n_reported] is item

    def reports(self) -> list[pytest.TestReport]:
        """What all ranks reported of the next test, once it has ended; nothing more comes after one that failed."""
        number, item = self._n_reported, self._items[self._n_reported]
        files = [self._reports / f"{number}-{rank}" for rank in range(self._n_ranks)]
        reason = self._wait(files)
        found = [report for file in files if file.exists() for report in pickle.loads(file.read_bytes())]
        if reason:
            failure = pytest.TestReport(item.nodeid, item.location, {}, "failed", f"{item.nodeid}: {reason}", "call")
            failure.sections.append(("Captured output of all ranks", self._output.read_text(errors="replace")))
            found.append(failure)
        self._n_reported = len(self._items) if any(report.failed for report in found) else number + 1
        return found

    def _wait(self, files: list[Path]) -> str:
        """Wait for the end of a test; why it did not come to one."""
        deadline = time.monotonic() + self._seconds
        while not all(file.exists() for file in files):
            if self._process.poll() is not None and not all(file.exists() for file in files):
                return f"a rank ended before the test; exit code {self._process.returncode}"
            if time.monotonic() > deadline:
                self._process.terminate()
                return f"no end within {self._seconds:g} s"
            time.sleep(0.01)
        return ""

    def close(self) -> None:
        """Wait for the end of the mpirun, not for ever; tests that nobody waits for any more are not run."""
        if self._n_reported < len(self._items):
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self._process.kill()
        self._process.wait()
        self._temporary.cleanup()


class Groups:
    """Reports what each test came to in the mpirun of its group, which the first test of the group starts.

    Parameters
    ----------
    session
        Has all tests in their order.
    """

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self._group: Group | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run and report a test, if it is one for several ranks."""
        if not ranks_of(item):
            return None
        if self._group is None or not self._group.is_next(item):
            self.pytest_sessionfinish()
            later = self._session.items[self._session.items.index(item) :]
            self._group = Group([each for each in later if ranks_of(each) == ranks_of(item)])
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._group.reports():
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self) -> None:
        """End the mpirun that still runs."""
        if self._group is not None:
            self._group.close()
            self._group = None


# ---- on a rank ------------------------------------------------------------------------------------------------------


class Rank:
    """Keeps the reports of each test, and ends the session on all ranks after a test that failed on any.

    Parameters
    ----------
    session
        Of this rank.
    """

    def __init__(self, session: pytest.Session) -> None:
        from mpi4py import MPI

        # No message of a test can meet those of the agreement.
        self._comm, self._session = MPI.COMM_WORLD.Dup(), session
        self._n_tests, self._has_failed = 0, False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of a failure."""
        self._has_failed |= report.failed

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Give the reports of a test a name that the next one does not have; go on when all ranks have ended it."""
        folder, rank = Path(os.environ[REPORTS]), launched_rank()
        (folder / f"{rank}").rename(folder / f"{self._n_tests}-{rank}")
        self._n_tests += 1
        if any(self._comm.allgather(self._has_failed)):
            self._session.shouldstop = "a test failed; those after it run in another mpirun"
