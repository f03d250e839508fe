"""No file can make the program execute anything: nothing that unpickles or evaluates is reachable from a reader."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "hpc_sparse"
EXECUTING_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "torch", "yaml", "code"}
EXECUTING_CALLS = {"eval", "exec", "compile", "__import__", "read_pickle", "to_pickle", "Unpickler"}
LOADERS = ("joblib.load", "joblib.numpy_pickle")
"""Loaders of a module that is also used to count processors."""

PARSERS = {"numpy.load", "np.load"}


TORCH_MODULES = {f"interop/{name}.py" for name in ("torch_module", "sparse_linear", "torch_states", "torch_tensors")}
"""May import torch, but nothing below it, and call none of TORCH_READERS."""

TORCH_READERS = ("torch.load", "torch.save", "torch.hub", "torch.jit", "torch.package", "torch.serialization")


def violations(source: str, *, may_import_torch: bool = False) -> list[str]:
    """What in a file could unpickle or evaluate something."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            found += wrong_call(node)
        found += [name for name in names if name.split(".")[0] in EXECUTING_MODULES or name.startswith(LOADERS)]
        if may_import_torch:
            found = [name for name in found if name != "torch"]
    return sorted(set(found))


def wrong_call(call: ast.Call) -> list[str]:
    called = ast.unparse(call.func)
    name = called.rpartition(".")[2]
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    imported = [argument.value for argument in call.args[:1] if isinstance(argument, ast.Constant)]
    if name == "import_module" and imported and str(imported[0]).split(".")[0] in EXECUTING_MODULES:
        return [str(imported[0])]
    if (name in EXECUTING_CALLS or called.startswith((*LOADERS, *TORCH_READERS))) and called != "re.compile":
        return [called]
    if keywords.get("allow_pickle", "False") != "False":
        return [f"{called}(allow_pickle)"]
    if called in PARSERS and "allow_pickle" not in keywords:
        return [f"{called} without allow_pickle=False"]
    return []


def test_nothing_is_unpickled_or_evaluated():
    found = {
        name: violations(path.read_text(encoding="utf-8"), may_import_torch=name in TORCH_MODULES)
        for path in PACKAGE.rglob("*.py")
        if (name := path.relative_to(PACKAGE).as_posix())
    }
    assert found.keys() >= TORCH_MODULES
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize("source", ["torch.load(path)", "import torch.serialization", "from torch import load"])
def test_where_torch_may_be_imported_its_readers_may_not(source):
    assert violations(f"import torch\n{source}", may_import_torch=True)
    assert not violations("import torch\ntorch.from_numpy(array)", may_import_torch=True)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "import torch.serialization",
        "joblib.load(path)",
        "from joblib import load",
        "from importlib import import_module\nimport_module('pickle')",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=allowed)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "pandas.read_pickle(path)",
        "eval(text)",
        "builtins.exec(text)",
        "compile(text, '', 'exec')",
    ],
)
def test_a_way_to_unpickle_is_seen(source):
    assert violations(source)


@pytest.mark.parametrize(
    "source",
    [
        "np.load(path, allow_pickle=False)",
        "re.compile('x')",
        "json.loads(text)",
        "tomllib.loads(text)",
        "model.evaluate()",
    ],
)
def test_a_way_that_executes_nothing_is_let_through(source):
    assert violations(source) == []
