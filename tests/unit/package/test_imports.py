"""Importing the package, or its configuration, starts nothing and changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"numba", "llvmlite", "mpi4py", "h5py", "scipy", "pydantic", "rich"}
PROGRAM = """
import json, os, sys, threading
before = dict(os.environ), set(sys.modules), os.getcwd()
import {module}
print(json.dumps({{
    "loaded": sorted({{name.partition(".")[0] for name in set(sys.modules) - before[1]}}),
    "same_environment": dict(os.environ) == before[0] and os.getcwd() == before[2],
    "n_threads": threading.active_count(),
}}))
"""


def import_alone(module: str) -> dict[str, object]:
    program = PROGRAM.format(module=module)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("hpc_sparse", set()),
        ("hpc_sparse.errors", set()),
        ("hpc_sparse.config", {"numpy", "pydantic"}),
        ("hpc_sparse.parallel.collectives", {"numpy"}),
        ("hpc_sparse.cli.app", {"numpy", "rich"}),
    ],
)
def test_an_import_loads_only_what_it_needs(module, allowed):
    seen = import_alone(module)
    assert seen["same_environment"]
    assert seen["n_threads"] == 1
    assert set(seen["loaded"]) & (HEAVY | {"numpy"}) <= allowed


@pytest.mark.parametrize(
    "module",
    ["hpc_sparse.network.network", "hpc_sparse.evolution", "hpc_sparse.kernels.sparse.forward"],
)
def test_the_single_process_library_needs_neither_mpi_nor_hdf5(module):
    seen = import_alone(module)
    assert seen["same_environment"]
    assert not set(seen["loaded"]) & {"mpi4py", "h5py"}


def test_a_run_loads_the_commands_of_runs_only():
    program = (
        "import sys, typer\n"
        "from hpc_sparse.cli.app import app\n"
        "assert typer.main.get_command(app).commands['train'].name == 'train'\n"
        "print(*(name for name in sys.modules if name.startswith('hpc_sparse.cli.')))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.rpartition(".")[2] for name in result.stdout.split()}
    assert loaded <= {"app", "commands", "guard", "train", "display", "loading", "options"}


def test_a_run_does_not_wait_for_scipys_special_functions():
    program = "import sys, hpc_sparse.runs.run; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "scipy.special" not in result.stdout.split()
