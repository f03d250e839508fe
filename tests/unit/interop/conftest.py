"""PyTorch for tests of layers: itself where it is installed, else what stands in for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType

import numpy_torch
import pytest

LAYERS = [f"hpc_sparse.interop.{name}" for name in ("sparse_linear", "torch_tensors", "torch_states", "torch_module")]
"""Modules that import PyTorch, whichever it is at that time."""


@pytest.fixture
def torch(monkeypatch) -> Iterator[ModuleType]:
    if find_spec("torch"):
        import torch

        yield torch
        return
    _forget()
    monkeypatch.setitem(sys.modules, "torch", numpy_torch.as_module())
    yield sys.modules["torch"]
    _forget()


def _forget() -> None:
    for name in LAYERS:
        sys.modules.pop(name, None)
