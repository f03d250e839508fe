"""What is published: a source distribution, the wheel made from it, and an installation of that wheel without MPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL_SECONDS = 280
"""Where nothing is cached, a hundred megabytes are downloaded."""


def run_here(*command: object, cwd: Path, code: int = 0) -> str:
    """Run a command that sees nothing of this repository or its environment; gives what it prints."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert result.returncode == code, f"{command}: exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    shutil.copytree(ROOT / "hpc_sparse", source / "hpc_sparse", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run_here(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source, cwd=folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def test_wheel_and_source_distribution_hold_the_whole_package_and_nothing_else(built, wheel):
    package = (path for path in (ROOT / "hpc_sparse").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected = {path.relative_to(ROOT).as_posix() for path in package}
    assert {"hpc_sparse/py.typed", "hpc_sparse/report/page.html.jinja"} < expected
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == expected
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert expected | {"pyproject.toml", "README.md", "LICENSE"} <= inside


def test_every_extra_that_is_named_anywhere_exists(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "hpc_sparse").rglob("*.py")]
    named = {
        extra
        for path in texts
        for found in re.findall(r"hpc-sparse\[([\w,]+)\]", path.read_text(encoding="utf-8"))
        for extra in found.split(",")
    }
    assert named
    assert named <= set(metadata.get_all("Provides-Extra"))
    assert "mpi4py>=4.1; extra == 'mpi'" in [text.replace('"', "'") for text in metadata.get_all("Requires-Dist")]


@pytest.mark.timeout(2 * INSTALL_SECONDS)
@pytest.mark.slow
def test_the_wheel_runs_the_readme_in_an_empty_environment_without_mpi(wheel, tmp_path):
    python = tmp_path / "venv" / "bin" / "python"
    run_here(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-compile")
    run_here(*pip, "-c", ROOT / "tools" / "constraints.txt", f"{wheel}[sklearn]", cwd=tmp_path)
    run_here(python, "-c", "import mpi4py", cwd=tmp_path, code=1)
    assert run_here(python.with_name("hpc-sparse"), "--version", cwd=tmp_path).startswith("hpc-sparse ")
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    (tmp_path / "example.py").write_text(example.group(1))
    accuracies = [float(line) for line in run_here(python, "example.py", cwd=tmp_path).splitlines()]
    assert len(accuracies) == 2
    assert min(accuracies) > 0.85
