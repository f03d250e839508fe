"""No file can make the program execute anything: nothing that unpickles or evaluates is reachable from a reader."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "hpc_sparse"
EXECUTING_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "torch", "yaml", "code"}
EXECUTING_CALLS = {"eval", "exec", "compile", "__import__", "read_pickle", "to_pickle", "Unpickler"}
LOADERS = ("joblib.load", "joblib.numpy_pickle")
"""Of a module that is also there to count processors."""

PARSERS = {"numpy.load", "np.load"}


def violations(source: str) -> list[str]:
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
    return sorted(set(found))


def wrong_call(call: ast.Call) -> list[str]:
    called = ast.unparse(call.func)
    name = called.rpartition(".")[2]
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    imported = [argument.value for argument in call.args[:1] if isinstance(argument, ast.Constant)]
    if name == "import_module" and imported and str(imported[0]).split(".")[0] in EXECUTING_MODULES:
        return [str(imported[0])]
    if (name in EXECUTING_CALLS or called.startswith(LOADERS)) and called != "re.compile":
        return [called]
    if keywords.get("allow_pickle", "False") != "False":
        return [f"{called}(allow_pickle)"]
    if called in PARSERS and "allow_pickle" not in keywords:
        return [f"{called} without allow_pickle=False"]
    return []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_unpickled_or_evaluated(path):
    assert violations(path.read_text(encoding="utf-8")) == []


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
