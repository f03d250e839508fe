"""Truly sparse training of neural networks on CPUs, from a laptop to a cluster.

Importing the package starts nothing: no MPI, no compilation, no change of the environment. What it offers is imported
when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpc_sparse.errors import MachineError

if TYPE_CHECKING:
    from hpc_sparse.estimators import (
        SparseFeatureSelector,
        SparseMLPClassifier,
        SparseMLPRegressor,
        SparseRNNClassifier,
    )
    from hpc_sparse.inference import load_arrays, load_model

__version__ = "0.1.0"
__all__ = [
    "SparseFeatureSelector",
    "SparseMLPClassifier",
    "SparseMLPRegressor",
    "SparseRNNClassifier",
    "load_arrays",
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("load_arrays", "load_model"):
        return getattr(import_module("hpc_sparse.inference"), name)
    try:
        return getattr(import_module("hpc_sparse.estimators"), name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"sklearn", "joblib"}:
            raise
        raise MachineError(
            f"{name}: needs scikit-learn 1.6 or newer, but there was: {error}: pip install 'hpc-sparse[sklearn]'"
        ) from error
