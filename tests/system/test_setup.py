"""The set-up, demo and test scripts: what they say, how they end, and that they leave alone what is there."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ["setup", "demo", "test"]
STAMP = ROOT / ".venv" / "setup-stamp"
# What the scripts call besides bash, MPI and Python.
BASIC_COMMANDS = [
    *("cat", "cut", "dirname", "env", "grep", "head", "id", "mkdir"),
    *("rm", "sed", "sha256sum", "tail", "tr", "uname"),
]


def run_script(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run(
        [bash, str(script), *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def child_cpu_seconds() -> float:
    """What the commands that have ended so far have computed, and those that they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def fresh_clone(tmp_path: Path) -> Path:
    """The scripts and what they read, without .venv/."""
    clone = tmp_path / "clone"
    for folder in ["tools", "jobs"]:
        shutil.copytree(ROOT / folder, clone / folder)
    shutil.copy(ROOT / "pyproject.toml", clone)
    return clone


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with basic commands only: no Python, no MPI, no apt-get."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for command in BASIC_COMMANDS:
        found = shutil.which(command)
        assert found is not None, command
        (folder / command).symlink_to(found)
    return folder


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_tells_the_usage_and_exits_with_0(script):
    result = run_script(ROOT / "tools" / script, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: tools/{script}")
    assert result.stderr == ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unknown_option_is_named_in_one_line_with_exit_code_2(script):
    result = run_script(ROOT / "tools" / script, "--nonsense")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"{script}: error: --nonsense: ")


@pytest.mark.parametrize("epochs", ["0", "-1", "many", ""])
def test_demo_rejects_an_impossible_number_of_epochs(epochs):
    result = run_script(ROOT / "tools" / "demo", "--epochs", epochs)
    assert result.returncode == 2
    assert result.stderr == f"demo: error: --epochs {epochs}: must be a whole number >= 1\n"


def test_a_second_setup_is_quick_and_changes_nothing():
    assert STAMP.exists(), "run tools/setup --dev (or tools/test) first: this test is about the run after it"
    before = STAMP.read_text(), STAMP.stat().st_mtime_ns
    # Counted in the processor's time: how long it takes by the clock is also a matter of what else the machine does.
    used = child_cpu_seconds()
    result = run_script(ROOT / "tools" / "setup", "--dev")
    assert child_cpu_seconds() - used < 2.0
    assert (result.returncode, result.stdout) == (0, "setup: .venv/ is up to date\n")
    assert (STAMP.read_text(), STAMP.stat().st_mtime_ns) == before


def test_a_smaller_setup_is_content_with_a_larger_one():
    assert STAMP.exists(), "run tools/setup --dev (or tools/test) first: this test is about the run after it"
    result = run_script(ROOT / "tools" / "setup", "--no-mpi")
    assert (result.returncode, result.stdout) == (0, "setup: .venv/ is up to date\n")


def test_without_python_the_message_says_which_one_is_needed(fresh_clone, bare_path):
    result = run_script(fresh_clone / "tools" / "setup", PATH=str(bare_path), PYTHON="")
    assert result.returncode == 2
    assert result.stderr.startswith("setup: error: no Python 3.11 or newer found")
    assert not (fresh_clone / ".venv").exists()


def test_a_named_python_that_is_too_old_is_refused(fresh_clone, bare_path):
    old_python = bare_path / "python3.6"
    old_python.write_text("#!/bin/sh\nexit 1\n")
    old_python.chmod(0o755)
    result = run_script(fresh_clone / "tools" / "setup", PATH=str(bare_path), PYTHON=str(old_python))
    assert result.returncode == 2
    assert result.stderr == f"setup: error: PYTHON = {old_python}: not a Python 3.11 or newer\n"


def test_another_python_that_is_asked_for_replaces_the_one_before(fresh_clone, tmp_path, bare_path):
    (fresh_clone / ".venv" / "bin").mkdir(parents=True)
    for python, version in ((fresh_clone / ".venv/bin/python", "3.11"), (tmp_path / "python3.13", "3.13")):
        python.write_text(
            f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; *executable*) echo "$0";; *%d.%d*) echo {version};; esac\n'
        )
        python.chmod(0o755)
    environment = {"PATH": str(bare_path), "PYTHON": str(tmp_path / "python3.13")}
    result = run_script(fresh_clone / "tools" / "setup", "--no-mpi", **environment)
    assert result.returncode == 2
    assert result.stdout.startswith("setup: removing .venv/: its Python or its MPI is not the one that is wanted now\n")
    assert result.stderr.startswith(f"setup: error: {tmp_path}/python3.13 cannot make virtual environments")
    assert not (fresh_clone / ".venv").exists()


def test_a_copy_that_pip_install_left_gives_way_to_the_clone_itself(fresh_clone, bare_path):
    python = fresh_clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\ncase "$2" in *executable*) echo "$0";; esac\n')
    python.chmod(0o755)
    (bare_path / "python3").symlink_to(python)
    setup = fresh_clone / "tools" / "setup"
    said = [run_script(setup, "--no-mpi", PATH=str(bare_path), PYTHON="").stdout for _ in range(2)]
    (fresh_clone / ".venv" / "lib" / "python3.11" / "site-packages" / "hpc_sparse").mkdir(parents=True)
    said.append(run_script(setup, "--no-mpi", PATH=str(bare_path), PYTHON="").stdout)
    assert said[0].startswith("setup: installing Python packages")
    assert said[1:] == ["setup: .venv/ is up to date\n", said[0]]


def test_a_package_that_cannot_be_had_ends_with_a_message_and_no_stamp(fresh_clone, bare_path):
    (bare_path / "python3").symlink_to(sys.executable)
    result = run_script(
        fresh_clone / "tools" / "setup", "--no-mpi", PATH=str(bare_path), PYTHON="", PIP_NO_INDEX="1", PIP_FIND_LINKS=""
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == (
        "setup: error: could not install setuptools (see above, all of it in .cache/setup.log)"
    )
    assert not (fresh_clone / ".venv" / "setup-stamp").exists()


def test_every_pin_is_a_plain_version_without_an_address():
    lines = (ROOT / "tools" / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins
    assert [pin for pin in pins if pin.count("==") != 1 or set(pin) & set("/@:; ")] == []


@pytest.mark.parametrize("script", [*SCRIPTS, "fashion_mnist"])
def test_scripts_may_be_executed(script):
    assert os.access(ROOT / "tools" / script, os.X_OK)
