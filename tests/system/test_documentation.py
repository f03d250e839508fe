"""The commands and the Python of README and docs run as they stand, and links lead somewhere.

Every block of commands, Python or TOML has an HTML comment before it, which readers do not see: ``run``; ``not run``
with the reason; or ``file`` with the name that the block is saved under. The blocks of a page run one after the other
in one shell, in a folder like a clone that holds a small data set in Fashion-MNIST's place and three runs on it.
"""

from __future__ import annotations

import gzip
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {ROOT / "docs" / "reference" / "api", ROOT / "docs" / "results" / "files"}
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES = FRONT + sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent not in GENERATED)
PAGE_SECONDS = 240
"""A few on a machine with nothing else to do."""
MOST_README_LINES = 120

BLOCK = re.compile(r"^(?:<!-- (?P<mark>.*?) -->\n)?```(?P<language>sh|python|toml)\n(?P<text>.*?)^```$", re.M | re.S)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s#]*)(#[^)\s]*)?\)")
PATH = re.compile(r"`((?:hpc_sparse|jobs|tests|tools)/[\w./]*)[` ]")
HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)

IDX_FILES = {"train": 600, "t10k": 200}
N_PIXELS = 784


class Block(NamedTuple):
    """A block of a page: its mark, its language, what is in it."""

    mark: str
    language: str
    text: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    return [Block(mark or "", *rest) for mark, *rest in BLOCK.findall(page.read_text(encoding="utf-8"))]


def runs(block: Block) -> bool:
    return block.mark == "run" or block.mark.startswith("file: ")


RUNNABLE = [page for page in PAGES if any(runs(block) for block in blocks_of(page))]


def script_of(blocks: list[Block]) -> str:
    """A shell script that does what a reader of the blocks does."""
    parts = ["set -eu -o pipefail"]
    for number, block in enumerate(block for block in blocks if runs(block)):
        if block.mark.startswith("file: "):
            parts.append(f"cat > {shlex.quote(block.mark.removeprefix('file: '))} <<'END'\n{block.text}END")
        elif block.language == "python":
            parts.append(f"cat > block_{number}.py <<'END'\n{block.text}END\npython block_{number}.py")
        else:
            parts.append(block.text)
    return "\n".join(parts)


def run_script(script: str, folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HPC_SPARSE_DATA"}
    environment["NUMBA_NUM_THREADS"] = "1"  # threads that wait for each other are slow where others compute, too
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = ["bash", "-c", script]
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PAGE_SECONDS, check=False
    )
    assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"


def write_idx(folder: Path) -> None:
    """The four files of a small data set that looks like Fashion-MNIST: ten classes of noisy images."""
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (10, N_PIXELS))
    folder.mkdir()
    for part, n_samples in IDX_FILES.items():
        labels = rng.integers(0, 10, n_samples).astype(np.uint8)
        images = np.clip(centres[labels] + rng.normal(0, 40, (n_samples, N_PIXELS)), 0, 255).astype(np.uint8)
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">4I", 0x803, n_samples, 28, 28) + images.tobytes())
        with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">2I", 0x801, n_samples) + labels.tobytes())


def write_tools(folder: Path) -> None:
    """Stand-ins for the scripts that install: there is an environment, and the data are the small ones."""
    (folder / "tools").mkdir()
    for name, line in {"setup": "true", "fashion_mnist": f"echo {folder / 'idx'}"}.items():
        (folder / "tools" / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / "tools" / name).chmod(0o755)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a clone of the repository after a first run."""
    folder = tmp_path_factory.mktemp("clone")
    write_idx(folder / "idx")
    write_tools(folder)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "jobs").symlink_to(ROOT / "jobs")
    (folder / "docs" / "reference").mkdir(parents=True)
    rows = "".join(f"{20 + n % 50},{'ab'[n % 2]},{'high' if n % 3 else 'low'}\n" for n in range(60))
    (folder / "people.csv").write_text(f"age,work,income\n{rows}")
    train = "hpc-sparse train jobs/fashion_mnist.toml --set training.epochs=3 --set checkpoint.every_epochs=1"
    lines = [f"{train} --set training.seed={seed} --output runs/seed-{seed}" for seed in (0, 1)]
    lines.append("cp -r runs/seed-0 runs/fashion_mnist")
    imports = "mkdir data\nhpc-sparse data import fashion-mnist data/fashion_mnist.h5 --source idx"
    run_script("\n".join(["set -eu", imports, *lines]), folder)
    return folder


@pytest.fixture(scope="module")
def outcomes(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, Future[None]]]:
    """What becomes of each page's blocks, two pages at a time."""

    def run_page(page: Path) -> None:
        folder = tmp_path_factory.mktemp("page") / "clone"
        shutil.copytree(clone, folder, symlinks=True)
        run_script(script_of(blocks_of(page)), folder)

    with ThreadPoolExecutor(max_workers=2) as pool:
        yield {page: pool.submit(run_page, page) for page in RUNNABLE}


@pytest.mark.timeout(PAGE_SECONDS * 3)
@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_what_a_page_says_to_type_runs(page, outcomes):
    outcomes[page].result()


def test_there_are_pages_to_run():
    assert len(RUNNABLE) >= 12
    assert ROOT / "README.md" in RUNNABLE
    assert ROOT / "docs" / "first_run.md" in RUNNABLE


def test_every_block_runs_or_says_why_not():
    marks = {(name_of(page), block.text): block.mark for page in PAGES for block in blocks_of(page)}
    assert {where: mark for where, mark in marks.items() if not re.fullmatch(r"run|file: \S+|not run: .+", mark)} == {}


def anchors_of(page: Path) -> set[str]:
    """The anchors that headings get."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES + sorted((ROOT / "tools" / "results").glob("*.md")), ids=name_of)
def test_links_lead_somewhere(page):
    missing = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:")):
            continue
        file = (page.parent / target) if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor[1:] not in anchors_of(file)):
            missing.append(f"{target}{anchor}")
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_names_exist(page):
    named = set(PATH.findall(page.read_text(encoding="utf-8")))
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_every_page_is_in_a_list_of_pages():
    """So that a reader of the repository, who has no navigation, finds it, too."""
    listed = set()
    for page in PAGES:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
            listed |= {page.parent / f"{line}.md" for line in block.splitlines() if line and not line.startswith(":")}
    assert set(PAGES) - set(FRONT) - listed == {ROOT / "docs" / "index.md"}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_README_LINES


@pytest.mark.parametrize(
    ("trainer", "peer"),
    [
        ("hpc_sparse", "ours"),
        ("PyTorch, CSR matrices, backward pass written by hand", "torch_csr"),
        ("PyTorch, dense layers", "torch_dense"),
        ("PyTorch, masks over dense layers", "torch_masked"),
    ],
)
def test_the_readme_has_the_measured_speed(trainer, peer):
    measured = (ROOT / "tools" / "results" / "peers_fashion_mnist.txt").read_text(encoding="utf-8")
    seconds, times = re.search(rf"^│ {peer} +│ +([\d.]+) │.*│ +([\d.]+) │$", measured, re.MULTILINE).groups()
    row = f"| {trainer} | {float(seconds):.2g} | {float(times):.2g} |"
    assert row in (ROOT / "README.md").read_text(encoding="utf-8")
