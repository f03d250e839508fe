"""Tests of real data where there are none: left out and counted, but failures where all tests have to run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests/unit/storage/test_real_data.py"
NOTHING = {"HPC_SPARSE_DATA": ""}


@pytest.mark.parametrize("processes", [0, 2])
def test_tests_of_missing_data_are_left_out_and_the_reason_is_told_and_noted(run, tmp_path, processes):
    notes = {"HPC_SPARSE_TEST_NOTES": str(tmp_path / "notes")}
    line = ("-m", "pytest", "-n", processes, TESTS, "-k", "news20 or newsgroups")
    # All of them are deselected, which is pytest's exit code 5.
    told = run(*line, cwd=ROOT, command=(sys.executable,), code=5, CI="", **NOTHING, **notes).stdout
    assert "left out: 8 tests of real data sets, as HPC_SPARSE_DATA is not set" in told
    assert (tmp_path / "notes").read_text() == "8\tof real data sets, as HPC_SPARSE_DATA is not set\n"


def test_where_all_tests_have_to_run_missing_data_are_an_error(run):
    line = ("-m", "pytest", "-n", 0, TESTS, "-k", "newsgroups")
    told = run(*line, cwd=ROOT, command=(sys.executable,), code=1, CI="1", **NOTHING).stdout
    assert "expected the folder of the real data sets" in told
    assert "left out" not in told
