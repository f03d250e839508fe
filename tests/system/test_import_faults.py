"""An import breaks off: what was there stays, nothing incomplete takes its place, and it can be repeated."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

IMPORT = ("data", "import", "csv", "table.csv", "table.h5", "--label", "-1", "--test-fraction", "0.5", "--overwrite")
N_ROWS = 200_000
"""Enough for an import to be seen at work."""


@pytest.fixture(scope="module")
def table() -> str:
    return "a,b,kind\n" + "".join(f"{n / 10},{n % 7},{n % 2}\n" for n in range(N_ROWS))


@pytest.fixture
def place(tmp_path: Path, table: str) -> Path:
    (tmp_path / "table.csv").write_text(table)
    (tmp_path / "table.h5").write_bytes(b"what was there before")
    return tmp_path


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".table.h5.*.partial"))


def descendants(process: int) -> Iterator[int]:
    """The processes that one started, and those that these started."""
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        yield int(child)
        yield from descendants(int(child))


def interrupt(process, number: int, folder: Path, ranks: int | None = None) -> None:
    """Send a signal to root, which imports, as soon as it has begun to write.

    Without mpirun that is the process itself, which may have a child for a moment, too: libraries ask `uname`.
    """
    deadline = time.monotonic() + 60
    while not any(list(each.iterdir()) for each in leftovers(folder)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(process.pid if ranks is None else next(descendants(process.pid)), number)


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_killed_import_loses_nothing_and_can_be_repeated(launch: Callable, run: Callable, place: Path, ranks):
    process = launch(*IMPORT, cwd=place, ranks=ranks)
    interrupt(process, signal.SIGKILL, place, ranks)
    process.communicate(timeout=15)
    assert process.returncode == (-signal.SIGKILL if ranks is None else 128 + signal.SIGKILL)
    assert (place / "table.h5").read_bytes() == b"what was there before"
    (place / ".other.h5.0011aabb.partial").touch()
    run(*IMPORT, cwd=place, ranks=ranks)
    assert f"n train             {N_ROWS // 2}" in run("info", "table.h5", cwd=place).stdout
    assert not leftovers(place)
    assert (place / ".other.h5.0011aabb.partial").exists()


def test_an_import_that_is_interrupted_leaves_no_trace(launch: Callable, place: Path):
    process = launch(*IMPORT, cwd=place)
    interrupt(process, signal.SIGINT, place)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert (place / "table.h5").read_bytes() == b"what was there before"
    assert not leftovers(place)
