"""The documentation is built without a warning, and has what commands, configuration and docstrings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "docs"
BUILD_SECONDS = 280


def build(folder: Path, *options: str) -> None:
    command = [sys.executable, TOOL, *options, folder]
    result = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_pages_are_built_without_warnings(tmp_path):
    build(tmp_path, "--no-api")
    commands = (tmp_path / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "hpc-sparse data import svmlight" in commands
    assert "--ranks-per-node" in commands
    floors = (tmp_path / "develop" / "architecture.html").read_text(encoding="utf-8")
    assert all(f">{name}</text>" in floors for name in ("cli", "training", "kernels"))
    assert (tmp_path / "results" / "files" / "strategies.html").exists()


@pytest.mark.timeout(BUILD_SECONDS + 20)
def test_the_api_reference_is_complete_and_without_warnings(tmp_path):
    build(tmp_path)
    front = (tmp_path / "reference" / "api" / "hpc_sparse.html").read_text(encoding="utf-8")
    public = ("SparseMLPClassifier", "SparseMLPRegressor", "SparseFeatureSelector", "load_model")
    assert all(f'id="hpc_sparse.{name}"' in front for name in public)
    page = (tmp_path / "reference" / "api" / "hpc_sparse.inference.html").read_text(encoding="utf-8")
    assert "TrainedModel.predict_proba" in page
    assert "probabilities of the classes" in page
    kernels = (tmp_path / "reference" / "api" / "hpc_sparse.kernels.sparse.html").read_text(encoding="utf-8")
    assert "hpc_sparse.kernels.sparse.forward.plain_row" in kernels
