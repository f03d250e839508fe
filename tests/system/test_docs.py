"""The documentation is built without a warning, and has what commands, configuration and docstrings say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "docs"
BUILD_SECONDS = 280


@pytest.fixture
def build(run, tmp_path):
    """Build the pages; gives a function that reads one of them."""

    def built(*options):
        command = (sys.executable, str(TOOL))
        result = run(*options, tmp_path / "html", command=command, cwd=tmp_path, timeout=BUILD_SECONDS)
        assert result.stderr == ""
        return lambda name: (tmp_path / "html" / name).read_text(encoding="utf-8")

    return built


def test_the_pages_are_built_without_warnings(build):
    page = build("--no-api")
    assert "hpc-sparse data import svmlight" in page("reference/commands.html")
    assert "--ranks-per-node" in page("reference/commands.html")
    floors = page("develop/architecture.html")
    assert all(f">{name}</text>" in floors for name in ("cli", "training", "kernels"))
    assert "Evolution strategies" in page("results/files/strategies.html")


@pytest.mark.timeout(BUILD_SECONDS + 20)
def test_the_api_reference_is_complete_and_without_warnings(build):
    page = build()
    front = page("reference/api/hpc_sparse.html")
    public = ("SparseMLPClassifier", "SparseMLPRegressor", "SparseFeatureSelector", "load_model")
    assert all(f'id="hpc_sparse.{name}"' in front for name in public)
    assert "TrainedModel.predict_proba" in page("reference/api/hpc_sparse.inference.html")
    assert "probabilities of the classes" in page("reference/api/hpc_sparse.inference.html")
    assert "hpc_sparse.kernels.sparse.gradient.row_total" in page("reference/api/hpc_sparse.kernels.sparse.html")
