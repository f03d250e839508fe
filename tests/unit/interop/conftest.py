"""PyTorch for tests of layers: itself where it is installed, else what stands in for it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

import numpy_torch
import pytest

LAYERS = [f"hpc_sparse.interop.{name}" for name in ("sparse_linear", "torch_states", "torch_module")]


@pytest.fixture
def torch(monkeypatch) -> ModuleType:
    if find_spec("torch"):
        import torch

        return torch
    for name in LAYERS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", numpy_torch.as_module())
    return sys.modules["torch"]
