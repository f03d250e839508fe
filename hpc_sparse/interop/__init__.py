"""Networks to and from other programs: SciPy's arrays, PyTorch modules and layers, dense weights."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from hpc_sparse.errors import MachineError
from hpc_sparse.inference import TrainedModel

if TYPE_CHECKING:
    from hpc_sparse.interop.sparse_linear import SparseLinear
    from hpc_sparse.interop.torch_module import SparseModule

__all__ = ["SparseLinear", "to_torch"]


def to_torch(model: TrainedModel) -> SparseModule:
    """A ``torch.nn.Module`` with the same outputs, whose weights are CSR tensors: nothing becomes dense.

    It takes float32[n_samples, n_features] as :meth:`~hpc_sparse.inference.TrainedModel.weighted_sums` does, and gives
    the same logits. It owns copies of the weights.

    Raises
    ------
    MachineError
        PyTorch is not installed.
    """
    try:
        from hpc_sparse.interop.torch_module import SparseModule  # noqa: PLC0415  (most installations have no PyTorch)
    except ImportError as error:
        _refuse("to_torch", error)
    return SparseModule(model)


def __getattr__(name: str) -> Any:
    if name != "SparseLinear":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module("hpc_sparse.interop.sparse_linear").SparseLinear
    except ImportError as error:
        _refuse(name, error)


def _refuse(name: str, error: ImportError) -> NoReturn:
    """Raise what to do where PyTorch is missing, or the error itself if something else is."""
    if (error.name or "").partition(".")[0] != "torch":
        raise error
    raise MachineError(f"{name}: needs PyTorch, but there was: {error}: pip install torch") from error
