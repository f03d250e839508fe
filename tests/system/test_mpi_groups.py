"""MPI tests that share an mpirun: each has its own outcome, also those after one that took the whole mpirun with it."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

TESTS_FOLDER = Path(__file__).resolve().parents[1]
TESTS = """
import os
import time
import pytest

STARTED = []

@pytest.mark.mpi(ranks=[2])
def test_first(comm):
    STARTED.append(1)

@pytest.mark.mpi(ranks=[2])
def test_in_the_same_mpirun(comm):
    assert comm.size == 2
    assert STARTED

@pytest.mark.mpi(ranks=[2])
def test_wrong_on_one_rank(comm):
    assert comm.rank == 0

@pytest.mark.mpi(ranks=[2])
def test_in_a_new_mpirun(comm):
    assert not STARTED

@pytest.mark.mpi(ranks=[2])
def test_one_rank_is_gone(comm):
    if comm.rank == 1:
        os._exit(3)
    comm.barrier()

@pytest.mark.mpi(ranks=[2])
def test_one_rank_hangs(comm):
    if comm.rank == 1:
        time.sleep(300)

@pytest.mark.mpi(ranks=[1, 2])
def test_last(comm, mpi_ranks):
    assert comm.size == mpi_ranks
"""


def test_every_test_of_a_group_has_its_outcome_also_after_one_that_broke_it(tmp_path, run):
    shutil.copy(TESTS_FOLDER / "mpi" / "conftest.py", tmp_path)
    (tmp_path / "test_ranks.py").write_text(TESTS)
    arguments = ("-m", "pytest", "-v", "--import-mode=importlib", "--color=no", "--mpi-default-test-timeout=20")
    support = {"PYTHONPATH": str(TESTS_FOLDER / "support")}
    told = run(*arguments, cwd=tmp_path, command=(sys.executable,), code=1, **support).stdout
    # What the ranks themselves printed comes again with the failures, if it came out before they were ended.
    progress = told.partition("= FAILURES =")[0]
    outcomes = dict(re.findall(r"^test_ranks\.py::test_(\S+).* ?(PASSED|FAILED)", progress, re.MULTILINE))
    assert outcomes == {
        "last[1][rank=0]": "PASSED",
        "first[2][rank=0]": "PASSED",
        "first[2][rank=1]": "PASSED",
        "in_the_same_mpirun[2][rank=0]": "PASSED",
        "in_the_same_mpirun[2][rank=1]": "PASSED",
        "wrong_on_one_rank[2][rank=0]": "PASSED",
        "wrong_on_one_rank[2][rank=1]": "FAILED",
        "in_a_new_mpirun[2][rank=0]": "PASSED",
        "in_a_new_mpirun[2][rank=1]": "PASSED",
        "one_rank_is_gone[2]": "FAILED",
        "one_rank_hangs[2][rank=0]": "PASSED",
        "one_rank_hangs[2]": "FAILED",
        "last[2][rank=0]": "PASSED",
        "last[2][rank=1]": "PASSED",
    }
    assert "one_rank_is_gone[2]: a rank ended before the test" in told
    assert "one_rank_hangs[2]: no end within 20 s" in told
