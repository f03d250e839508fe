"""Imports go down only, each library stays in its package, and files stay readable."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "hpc_sparse"
BASE = {"checks", "config", "errors", "rng", "partition", "dtypes"}
FLOORS = [
    {"base"},
    {"kernels"},
    {"network"},
    {"evolution", "parallel"},
    {"storage"},
    {"importers"},
    {"monitor"},
    {"inputs"},
    {"training"},
    {"planning", "analysis"},
    {"models"},
    {"runs"},
    {"inference", "report"},
    {"interop", "estimators"},
    {"cli"},
]
"""From the ground up: a package imports from lower floors and from itself."""
ALLOWED = {name: {name}.union(*FLOORS[:number]) for number, names in enumerate(FLOORS) for name in names}
ALLOWED["front"] = {"base", "estimators", "inference"}  # the package itself, which imports them when they are asked for
HOMES = {
    "mpi4py": {"parallel", "cli"},
    "h5py": {"storage", "importers"},
    "pyarrow": {"importers"},
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "matplotlib": {"analysis", "report"},
    "jinja2": {"report"},
    "tensorboardX": {"report"},
    "sklearn": {"estimators", "importers"},
    "joblib": {"estimators"},
    "torch": {"interop"},
    "safetensors": {"interop"},
}
LONGEST_FILE = 400
MOST_FILES = 20
"""In one folder."""


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


def test_imports_go_down_only():
    wrong = {}
    for module, path in FILES.items():
        name = module[:-1] if module[-1] == "__init__" else module
        wrong["/".join(module)] = wrong_imports(path.read_text(encoding="utf-8"), name)
    assert {module: imports for module, imports in wrong.items() if imports} == {}


READERS = {"load_config", "parse_config", "model_validate"}
"""What reads a configuration, which may name any strategy, objective and optimiser."""

REGISTRARS = [
    ("evolution", "strategies", "__init__"),
    ("network", "objectives", "registry"),
    ("network", "optimizers", "registry"),
]
"""What makes these known."""


def loaded_with(module: tuple[str, ...]) -> set[tuple[str, ...]]:
    """All modules of the package that are loaded when one is imported, the packages that they are in included."""
    seen: set[tuple[str, ...]] = set()
    waiting = {module}
    while waiting:
        seen.add(each := waiting.pop())
        tree = ast.parse(FILES[each].read_text(encoding="utf-8"))
        at_once = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = [name.split(".") for name in imported_names(ast.Module(list(at_once), []))]
        below = [each, *(tuple(parts) for top, *parts in names if top == PACKAGE.name)]
        parts = {name[:length] for name in below for length in range(1, len(name) + 1)}
        waiting |= ({*parts, *((*part, "__init__") for part in parts)} & FILES.keys()) - seen
    return seen


def test_whoever_reads_a_configuration_has_loaded_the_kinds():
    for module, path in FILES.items():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        called = {getattr(node, "id", getattr(node, "attr", "")) for node in nodes}
        if called & READERS and module[0] not in {"config", "cli"}:
            assert set(REGISTRARS) <= loaded_with(module), module


def test_files_are_short():
    lengths = {"/".join(module): len(path.read_text(encoding="utf-8").splitlines()) for module, path in FILES.items()}
    assert {module: length for module, length in lengths.items() if length > LONGEST_FILE} == {}


def test_rooms_are_small():
    files = [path.parent for path in FILES.values()]
    assert {folder.name: files.count(folder) for folder in set(files) if files.count(folder) > MOST_FILES} == {}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("network/layer", "from hpc_sparse.training.trainer import Trainer"),
        ("network/layer", "import hpc_sparse.evolution"),
        ("network/layer", "from hpc_sparse import evolution"),
        ("network/layer", "def f():\n    from mpi4py import MPI"),
        ("network/layer", "import numba"),
        ("kernels/loss", "from hpc_sparse.network.objectives.mse import Mse"),
        ("evolution/strategies/set", "if True:\n    import h5py"),
        ("parallel/local_sgd", "from hpc_sparse.evolution.selection import resparsify"),
        ("evolution/importance", "import hpc_sparse.parallel.context"),
        ("parallel/context", "from hpc_sparse.storage.container.hdf5 import CHUNK_BYTES"),
        ("storage/container/serial", "class A:\n    from mpi4py import MPI"),
        ("storage/container/serial", "from hpc_sparse.runs import run"),
        ("runs/run", "from importlib import import_module\nimport_module('h5py')"),
        ("runs/run", "import hpc_sparse.cli.app"),
        ("planning/memory", "from hpc_sparse.models.stored import StoredNetwork"),
        ("runs/run", "from matplotlib.figure import Figure"),
        ("storage/checkpoint/file", "from hpc_sparse.analysis import topology_distance"),
        ("analysis/distance", "from hpc_sparse.models import merged"),
        ("analysis/distance", "from numba import njit"),
        ("analysis/distance", "import hpc_sparse.cli.analyze"),
        ("runs/run", "from hpc_sparse.estimators import SparseMLPClassifier"),
        ("runs/run", "from sklearn.base import clone"),
        ("runs/run", "from hpc_sparse.inference import load_model"),
        ("inference/model", "from hpc_sparse.estimators import SparseMLPClassifier"),
        ("inference/model", "import torch"),
        ("estimators/base", "import h5py"),
        ("runs/run", "from hpc_sparse.report.make import make_report"),
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
        ("storage/container/serial", "from hpc_sparse.parallel.context import ParallelContext"),
        ("parallel/local_sgd", "from hpc_sparse.network.replica import Replica"),
        ("importers/arrays/hdf5", "import h5py"),
        ("parallel/context", "def f():\n    from mpi4py import MPI"),
        ("analysis/checkpoints", "from hpc_sparse.storage.checkpoint.file import read_replicas"),
        ("kernels/loss", "from numba import njit\nfrom hpc_sparse.errors import MachineError"),
        ("cli", "from hpc_sparse import __version__\nfrom mpi4py import MPI"),
        ("runs/run", "from hpc_sparse import kernels\nimport hpc_sparse.rng"),
    ],
)
def test_a_right_import_is_let_through(module, source):
    assert wrong_imports(source, tuple(module.split("/"))) == []
