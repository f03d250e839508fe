"""The API reference is made without a warning, and has what the docstrings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "docs"


def test_the_api_reference_is_complete_and_without_warnings(tmp_path):
    result = subprocess.run(
        [sys.executable, TOOL, tmp_path / "api"], capture_output=True, text=True, timeout=280, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    front = (tmp_path / "api" / "hpc_sparse.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in front for name in ("SparseMLPClassifier", "SparseFeatureSelector", "load_model"))
    page = (tmp_path / "api" / "hpc_sparse" / "inference" / "model.html").read_text(encoding="utf-8")
    assert 'id="TrainedModel.predict_proba"' in page
    assert "probabilities of the classes" in page
