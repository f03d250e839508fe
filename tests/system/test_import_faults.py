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


def wait_until_it_writes(process, folder: Path) -> None:
    """Wait until an import has begun to write, which takes it a while."""
    deadline = time.monotonic() + 60
    # Beside the folder there is a file of such a name later on.
    while not any(folder.glob(".table.h5.*.partial/*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_killed_import_loses_nothing_and_can_be_repeated(
    launch: Callable, run: Callable, descendants: Callable, place: Path, ranks
):
    process = launch(*IMPORT, cwd=place, ranks=ranks)
    wait_until_it_writes(process, place)
    # Root imports. Without mpirun it is the process itself, which may have a child for a moment, too: libraries ask
    # `uname`.
    os.kill(process.pid if ranks is None else next(descendants(process.pid)), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if ranks is None else 128 + signal.SIGKILL)
    assert (place / "table.h5").read_bytes() == b"what was there before"
    (place / ".other.h5.0011aabb.partial").touch()
    run(*IMPORT, cwd=place, ranks=ranks)
    assert f"n train             {N_ROWS // 2}" in run("info", "table.h5", cwd=place).stdout
    assert not leftovers(place)
    assert (place / ".other.h5.0011aabb.partial").exists()


@pytest.fixture
def listens_to_interrupts() -> Iterator[None]:
    """Let commands be interrupted also where these tests run in the background of a script: it has that ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens_to_interrupts")
def test_an_import_that_is_interrupted_leaves_no_trace(launch: Callable, place: Path):
    process = launch(*IMPORT, cwd=place)
    wait_until_it_writes(process, place)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert (place / "table.h5").read_bytes() == b"what was there before"
    assert not leftovers(place)
