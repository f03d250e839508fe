"""The scripts in jobs/examples run as they stand, and come to a result."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "jobs" / "examples").glob("*.py"))
RESULT = re.compile(r"^result: .*\d", re.MULTILINE)
ACCURACY = re.compile(r"^result: accuracy (\d+\.\d)%", re.MULTILINE)

LEAST = {
    "graphs": 85.0,
    "grid_search": 95.0,
    "pathways": 78.0,
    "prune_dense_network": 85.0,
    "retrain_pattern": 90.0,
    "run_and_report": 93.0,
    "select_features": 60.0,
    "sequences": 90.0,
    "shifted_images": 75.0,
    "torch_layer": 90.0,
}
"""Accuracies in %, well below what the scripts come to."""


def test_there_is_an_example_of_each_use():
    assert {path.stem for path in SCRIPTS} == {*LEAST, "characters", "compare_topologies", "predict_elsewhere"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_example_runs_and_prints_its_result(script, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("HPC_SPARSE_DATA", raising=False)  # the synthetic problem is for everybody
    result = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert RESULT.search(result.stdout), result.stdout
    if script.stem in LEAST:
        (accuracy,) = ACCURACY.findall(result.stdout)
        assert float(accuracy) >= LEAST[script.stem]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_page_of_examples_has_a_row_for_it(script):
    page = (ROOT / "docs" / "guide" / "examples.md").read_text(encoding="utf-8")
    assert f"[{script.name}](../../jobs/examples/{script.name})" in page
