"""Tensors of PyTorch as arrays, and back, without copies where there need not be any."""

from __future__ import annotations

from typing import Any

import torch

from hpc_sparse.dtypes import AnyArray, Float32Array
from hpc_sparse.errors import ArrayError, MachineError


def check_tensor(name: str, tensor: Any) -> None:
    """Check that kernels can read something: a dense tensor of float32 on the CPU.

    Raises
    ------
    ArrayError
        It is of another class, layout or type.
    MachineError
        It is on another device.
    """
    if not isinstance(tensor, torch.Tensor):
        raise ArrayError(f"SparseLinear: {name} is a {type(tensor).__name__}: expected a torch.Tensor")
    if tensor.device.type != "cpu":
        raise MachineError(
            f"SparseLinear: {name} on the device {tensor.device}: it computes on the CPU alone, expected {name}.cpu()"
        )
    if tensor.layout != torch.strided:
        raise ArrayError(f"SparseLinear: {name} is {tensor.layout}: expected a dense tensor")
    if tensor.dtype != torch.float32:
        raise ArrayError(f"SparseLinear: {name} is {tensor.dtype}: expected torch.float32")


def checked_array(name: str, tensor: torch.Tensor) -> Float32Array:
    """The numbers of a tensor that :func:`check_tensor` lets pass."""
    check_tensor(name, tensor)
    values: Float32Array = plain_array(tensor)
    return values


def plain_array(tensor: torch.Tensor) -> AnyArray:
    """The numbers of any dense tensor, in C order."""
    array: AnyArray = tensor.detach().cpu().contiguous().numpy()
    return array


def as_tensor(array: Float32Array | None, is_wanted: bool = True) -> torch.Tensor | None:
    """A tensor that shares the memory of an array; None if there is none, or nobody wants it."""
    return torch.from_numpy(array) if is_wanted and array is not None else None
