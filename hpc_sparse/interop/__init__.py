"""Networks to and from other programs: archives of SciPy's arrays, PyTorch modules, dense weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_sparse.errors import MachineError
from hpc_sparse.inference import TrainedModel

if TYPE_CHECKING:
    from hpc_sparse.interop.torch_module import SparseModule

__all__ = ["to_torch"]


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
        if (error.name or "").partition(".")[0] != "torch":
            raise
        raise MachineError(f"to_torch: needs PyTorch, but there was: {error}: pip install torch") from error
    return SparseModule(model)
