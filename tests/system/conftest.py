"""The real command, started as a user starts it; every start has a time limit, so that a hang is a failure.

A process costs a second of imports. A command that does not train and needs no process of its own is therefore called
in this one, unless it is asked for apart; each command is also tested as a process, alone or on several ranks.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, suppress
from pathlib import Path

import pytest
from mpirun import on_ranks
from typer.testing import CliRunner

from hpc_sparse.cli.app import app
from hpc_sparse.monitor.stopping import SIGNALS

ROOT = Path(__file__).resolve().parents[2]
HPC_SPARSE = str(Path(sys.executable).with_name("hpc-sparse"))
TIMEOUT_SECONDS = 120
REFUSED = 2

CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [24, 17]
epsilon = 4
dropout = 0.1
[training]
epochs = 2
batch_size = 16
[optimizer]
learning_rate = 0.02
[checkpoint]
every_epochs = 1
[runtime]
oversubscribe = true
"""

Completed = subprocess.CompletedProcess[str]
Launch = Callable[..., "subprocess.Popen[str]"]
Run = Callable[..., Completed]


@pytest.fixture(scope="session")
def launch() -> Launch:
    """Start a command, by default ``hpc-sparse``, alone or on several ranks with the settings of jobs/openmpi.sh."""

    def start(
        *arguments: object,
        cwd: Path,
        ranks: int | None = None,
        command: Sequence[str] = (HPC_SPARSE,),
        **environment: str,
    ) -> subprocess.Popen[str]:
        line = [*command, *(str(argument) for argument in arguments)]
        if ranks is not None:
            line = on_ranks(ranks, line)
        return subprocess.Popen(
            line,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


@pytest.fixture(scope="session")
def run(launch: Launch) -> Run:
    """Start a command, or call it here if it need not be apart; wait for its end, and check the exit code."""

    def run_to_end(
        *arguments: object, code: int = 0, timeout: float = TIMEOUT_SECONDS, apart: bool = False, **start: object
    ) -> Completed:
        if not apart and is_for_this_process(arguments, code, start):
            return run_here(arguments, code, start["cwd"])
        process = launch(*arguments, **start)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"{arguments}: no end within {timeout} s\n{out}\n{err}")
        assert process.returncode == code, f"{arguments}: exit code {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run_to_end


def is_for_this_process(arguments: Sequence[object], code: int, start: dict[str, object]) -> bool:
    """Whether a command can be called here: on no ranks, in no other environment, and without training."""
    is_plain = set(start) <= {"cwd", "ranks"} and start.get("ranks") is None
    return is_plain and bool(arguments) and arguments[0] != "check" and (arguments[0] != "train" or code == REFUSED)


def run_here(arguments: Sequence[object], code: int, folder: object) -> Completed:
    """Call a command in this process, and check the exit code."""
    words = [str(argument) for argument in arguments]
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with chdir(str(folder)):
            result = CliRunner().invoke(app, words, prog_name="hpc-sparse")
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert result.exit_code == code, f"{words}: exit code {result.exit_code}\n{result.output}"
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


def processes_of(process: int) -> Iterator[int]:
    """The processes that one started, from whichever of its threads, and those that these started, in this order."""
    for thread in sorted(Path(f"/proc/{process}/task").glob("*/children")):
        # Who is looked at may end meanwhile.
        with suppress(OSError):
            for child in thread.read_text().split():
                yield int(child)
                yield from processes_of(int(child))


def has_ended(process: int) -> bool:
    """Whether a process is gone, or would be if whoever inherited it had taken note."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.fixture(scope="session")
def descendants() -> Callable[[int], Iterator[int]]:
    """The processes that one started, and those that these started."""
    return processes_of


@pytest.fixture(scope="session")
def kill_job() -> Callable[[subprocess.Popen[str]], None]:
    """Kill a command, or a job's mpirun, and wait until none of its processes is left to write anything."""

    def kill(process: subprocess.Popen[str]) -> None:
        # Ranks have a session of their own; they end soon after their mpirun, at their next message.
        ranks = list(processes_of(process.pid))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=TIMEOUT_SECONDS)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not all(has_ended(rank) for rank in ranks):
            assert time.monotonic() < deadline, f"{ranks}: still there {TIMEOUT_SECONDS} s after their mpirun"
            time.sleep(0.01)

    return kill


@pytest.fixture(scope="session")
def run_config() -> str:
    """The configuration that :func:`workplace` has."""
    return CONFIG


@pytest.fixture
def workplace(tmp_path: Path, write_small_data: Callable[..., Path]) -> Path:
    """A folder with ``run.toml`` and the small dense data set ``data.h5`` that it names."""
    (tmp_path / "run.toml").write_text(CONFIG)
    write_small_data(tmp_path / "data.h5")
    return tmp_path


@pytest.fixture(scope="session")
def _trained_once(tmp_path_factory: pytest.TempPathFactory, run: Run, write_small_data: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "run.toml").write_text(CONFIG)
    write_small_data(folder / "data.h5")
    run("train", "run.toml", "--output", "run", cwd=folder)
    return folder / "run"


@pytest.fixture
def trained(workplace: Path, _trained_once: Path) -> Path:
    """The :func:`workplace` after a run of its two epochs into ``run``, a checkpoint after each."""
    shutil.copytree(_trained_once, workplace / "run")
    return workplace


@pytest.fixture(scope="session")
def fashion_mnist(tmp_path_factory: pytest.TempPathFactory, run: Run, debian_fashion_mnist: Path) -> Path:
    """A folder with the imported Fashion-MNIST data set in ``data/``."""
    source = subprocess.run(
        [str(ROOT / "tools" / "fashion_mnist")], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True
    ).stdout.strip()
    assert Path(source) == debian_fashion_mnist
    folder = tmp_path_factory.mktemp("fashion_mnist")
    (folder / "data").mkdir()
    run("data", "import", "fashion-mnist", "--source", source, "data/fashion_mnist.h5", cwd=folder)
    return folder
