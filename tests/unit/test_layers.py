"""Imports go down only, each library stays in its package, and files stay readable."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "hpc_sparse"
BASE = {"config", "errors", "rng", "partition", "dtypes"}
ALLOWED = {
    "base": {"base"},
    "kernels": {"base", "kernels"},
    "network": {"base", "kernels", "network"},
    "evolution": {"base", "kernels", "network", "evolution"},
    "parallel": {"base", "kernels", "network", "evolution", "parallel"},
    "storage": {"base", "kernels", "network", "evolution", "parallel", "storage"},
    "analysis": {"base", "kernels", "network", "evolution", "parallel", "storage", "analysis"},
}
ALLOWED["planning"] = {*ALLOWED["storage"], "planning"}
ALLOWED["training"] = {*ALLOWED["analysis"], "planning", "training"}
ALLOWED["inference"] = {*ALLOWED["training"], "inference"}
ALLOWED["interop"] = {*ALLOWED["inference"], "interop"}
ALLOWED["estimators"] = {*ALLOWED["inference"], "estimators"}
ALLOWED["front"] = {"base", "estimators", "inference"}  # the package itself, which imports them when they are asked for
ALLOWED["report"] = {*ALLOWED["training"], "report"}
ALLOWED["cli"] = {*ALLOWED["interop"], "report", "cli"}
HOMES = {
    "mpi4py": {"parallel", "cli"},
    "h5py": {"storage"},
    "pyarrow": {"storage"},
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "matplotlib": {"analysis", "report"},
    "jinja2": {"report"},
    "tensorboardX": {"report"},
    "sklearn": {"estimators", "storage"},
    "joblib": {"estimators"},
    "torch": {"interop"},
    "safetensors": {"interop"},
}
LONGEST_FILE = 400


def layer_of(parts: tuple[str, ...]) -> str:
    """The layer of a module, given by its name's parts below the package."""
    if not parts:
        return "front"
    if parts[0] in BASE:
        return "base"
    return "cli" if parts[0].startswith("cli") or parts[0] == "__main__" else parts[0]


def imported_names(tree: ast.AST) -> list[str]:
    """Every module that is imported anywhere in a file, also inside functions and under conditions."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"import_module", "__import__"}:
            assert isinstance(node.args[0], ast.Constant), f"line {node.lineno}: computed import"
            names.append(node.args[0].value)
    return names


def wrong_imports(source: str, module: tuple[str, ...]) -> list[str]:
    """What a file imports that its layer must not; ``module`` is its name's parts below the package."""
    layer = layer_of(module)
    wrong = []
    for name in imported_names(ast.parse(source)):
        top, *below = name.split(".")
        if top == PACKAGE.name and layer_of(tuple(below)) not in ALLOWED[layer] | {"__version__"}:
            wrong.append(name)
        if layer not in HOMES.get(top, {layer}):
            wrong.append(name)
    return wrong


FILES = {path.relative_to(PACKAGE).with_suffix("").parts: path for path in sorted(PACKAGE.rglob("*.py"))}


def test_the_package_is_found():
    assert {layer_of(module) for module in FILES if module != ("__init__",)} == set(ALLOWED) - {"front"}


@pytest.mark.parametrize("module", FILES, ids="/".join)
def test_imports_go_down_only(module):
    name = module[:-1] if module[-1] == "__init__" else module
    assert wrong_imports(FILES[module].read_text(encoding="utf-8"), name) == []


@pytest.mark.parametrize("module", FILES, ids="/".join)
def test_files_are_short(module):
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("network/layer", "from hpc_sparse.training.trainer import Trainer"),
        ("network/layer", "import hpc_sparse.evolution"),
        ("network/layer", "from hpc_sparse import evolution"),
        ("network/layer", "def f():\n    from mpi4py import MPI"),
        ("network/layer", "import numba"),
        ("kernels/loss", "from hpc_sparse.network.losses import LOSSES"),
        ("evolution/set", "if True:\n    import h5py"),
        ("parallel/context", "from hpc_sparse.storage.hdf5 import CHUNK_BYTES"),
        ("storage/serial", "class A:\n    from mpi4py import MPI"),
        ("storage/serial", "from hpc_sparse.training import run"),
        ("training/run", "from importlib import import_module\nimport_module('h5py')"),
        ("training/run", "import hpc_sparse.cli"),
        ("planning/memory", "from hpc_sparse.training.replica import n_outputs"),
        ("training/run", "from matplotlib.figure import Figure"),
        ("storage/checkpoint", "from hpc_sparse.analysis import topology_distance"),
        ("analysis/distance", "from hpc_sparse.training import replica"),
        ("analysis/distance", "from numba import njit"),
        ("analysis/distance", "import hpc_sparse.cli_analyze"),
        ("training/run", "from hpc_sparse.estimators import SparseMLPClassifier"),
        ("training/run", "from sklearn.base import clone"),
        ("training/run", "from hpc_sparse.inference import load_model"),
        ("inference/model", "from hpc_sparse.estimators import SparseMLPClassifier"),
        ("inference/model", "import torch"),
        ("estimators/base", "import h5py"),
        ("training/run", "from hpc_sparse.report.make import make_report"),
        ("report/page", "import h5py"),
        ("config", "from hpc_sparse.kernels import loss"),
        ("rng", "import numba.core.config"),
    ],
)
def test_a_wrong_import_is_seen(module, source):
    assert len(wrong_imports(source, tuple(module.split("/")))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("storage/serial", "from hpc_sparse.parallel.context import ParallelContext"),
        ("parallel/local_sgd", "from hpc_sparse.evolution.selection import keep_strongest"),
        ("parallel/context", "def f():\n    from mpi4py import MPI"),
        ("analysis/checkpoints", "from hpc_sparse.storage.checkpoint import read_replicas"),
        ("kernels/loss", "from numba import njit\nfrom hpc_sparse.errors import MachineError"),
        ("cli", "from hpc_sparse import __version__\nfrom mpi4py import MPI"),
        ("training/run", "from hpc_sparse import kernels\nimport hpc_sparse.rng"),
    ],
)
def test_a_right_import_is_let_through(module, source):
    assert wrong_imports(source, tuple(module.split("/"))) == []
