"""What :mod:`hpc_sparse.interop` uses of PyTorch, by NumPy: where PyTorch is not installed, tests run on it.

It has PyTorch's names, results and refusals for that part, one function of autograd at a time. It is nothing to train
with.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

float32, float64, int64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
strided, sparse_csr = "strided", "sparse_csr"


class Tensor:
    """An array, and how a gradient goes on from it."""

    layout = strided

    def __init__(self, array: Any, device: str = "cpu", back: Any = None) -> None:
        self.array, self.device, self._back = np.asarray(array), SimpleNamespace(type=device), back
        self.grad: Tensor | None = None
        self.requires_grad, self.version = back is not None, 0

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    data = property(lambda self: self, lambda self, other: setattr(self, "array", other.array))

    def dim(self) -> int:
        return self.array.ndim

    def numel(self) -> int:
        return self.array.size

    def item(self) -> Any:
        return self.array.item()

    def numpy(self) -> np.ndarray:
        return self.array

    def detach(self) -> Tensor:
        return Tensor(self.array, self.device.type)

    cpu = contiguous = detach

    def clone(self) -> Tensor:
        return Tensor(self.array.copy())

    def double(self) -> Tensor:
        return Tensor(self.array.astype(np.float64))

    def reshape(self, *shape: int) -> Tensor:
        made, own = self.array.reshape(*shape), self.array.shape
        return Tensor(made, self.device.type, (self.requires_grad and (lambda g: self.receive(g.reshape(own)))) or None)

    def receive(self, gradient: np.ndarray) -> None:
        if self._back is not None:
            self._back(gradient)
        else:
            self.grad = Tensor(gradient if self.grad is None else self.grad.array + gradient)

    def backward(self, gradient: Tensor) -> None:
        self.receive(gradient.array)

    def requires_grad_(self) -> Tensor:
        self.requires_grad = True
        return self

    def copy_(self, other: Tensor) -> None:
        self.array[...] = other.array
        self.version += 1

    def zero_(self) -> None:
        self.array[...] = 0

    def clamp(self, min: int) -> Tensor:  # noqa: A002  (PyTorch's name)
        return Tensor(np.maximum(self.array, min))

    def mean(self) -> Tensor:
        return Tensor(self.array.mean())

    def __iter__(self) -> Any:
        return (Tensor(each) for each in self.array)

    def __int__(self) -> int:
        return int(self.array)

    def __lt__(self, other: Any) -> Tensor:
        return Tensor(self.array < other)

    def __invert__(self) -> Tensor:
        return Tensor(~self.array)

    def __getitem__(self, at: Any) -> Tensor:
        return Tensor(self.array[_plain(at)])

    def __setitem__(self, at: Any, values: Any) -> None:
        self.array[_plain(at)] = _plain(values)

    __hash__ = object.__hash__


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, tuple) else getattr(value, "array", value)


class Parameter(Tensor):
    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tensor.array)
        self.requires_grad = True


class SparseCsr(Tensor):
    layout = sparse_csr

    def __init__(self, indptr: Tensor, indices: Tensor, values: Tensor, shape: Any, check_invariants: bool) -> None:
        super().__init__(np.empty(shape, np.bool_))
        self.crow_indices, self.col_indices, self.values = (lambda: indptr), (lambda: indices), (lambda: values)


class no_grad:  # noqa: N801  (PyTorch's name)
    def __call__(self, function: Any) -> Any:
        return function

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class Context:
    def save_for_backward(self, *tensors: Tensor) -> None:
        self._saved = [(tensor, tensor.version) for tensor in tensors]

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        if any(tensor.version != version for tensor, version in self._saved):
            raise RuntimeError("a variable needed for gradient computation has been modified by an inplace operation")
        return tuple(tensor for tensor, _ in self._saved)


class Function:
    @classmethod
    def apply(cls, *inputs: Any) -> Tensor:
        ctx: Any = Context()
        ctx.needs_input_grad = tuple(getattr(each, "requires_grad", False) for each in inputs)
        made = cls.forward(ctx, *inputs)  # type: ignore[attr-defined]

        def back(gradient: np.ndarray) -> None:
            for each, found in zip(inputs, cls.backward(ctx, Tensor(gradient)), strict=True):  # type: ignore[attr-defined]
                if found is not None:
                    each.receive(found.array)

        return Tensor(made.array, back=back if any(ctx.needs_input_grad) else None)


class Module:
    def __call__(self, *inputs: Any) -> Any:
        return self.forward(*inputs)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"  # type: ignore[attr-defined]

    def parameters(self) -> list[Parameter]:
        return [each for each in vars(self).values() if isinstance(each, Parameter)]

    def _named(self) -> dict[str, Parameter]:
        return {name: each for name, each in vars(self).items() if isinstance(each, Parameter)}

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination.update({f"{prefix}{name}": each.detach() for name, each in self._named().items()})

    def state_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._save_to_state_dict(found, "", False)
        return found

    def _load_from_state_dict(
        self, state: Any, prefix: str, _: Any, strict: bool, missing: Any, unexpected: Any, errors: Any
    ) -> None:
        own = self._named()
        missing += [name for name in own if prefix + name not in state]
        unexpected += [name for name in state if name.removeprefix(prefix) not in own]
        for name in own.keys() & {each.removeprefix(prefix) for each in state}:
            if own[name].shape != state[prefix + name].shape:
                errors.append(f"size mismatch for {name}")
            else:
                own[name].copy_(state[prefix + name])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        missing, unexpected, errors = list[str](), list[str](), list[str]()
        self._load_from_state_dict(dict(state), "", {}, True, missing, unexpected, errors)
        if missing or unexpected or errors:
            raise RuntimeError(f"Error(s) in loading state_dict: {missing} {unexpected} {errors}")


class Linear(Module):
    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        rng = np.random.default_rng(0)
        self.weight = Parameter(Tensor(rng.standard_normal((out_features, in_features), np.float32)))
        self.bias = Parameter(Tensor(rng.standard_normal(out_features, np.float32))) if bias else None


class Optimizer:
    def __init__(self, parameters: Any, **_: Any) -> None:
        self.param_groups, self.state = [{"params": list(parameters)}], {}


def as_module() -> ModuleType:
    """The stand-in as a module ``torch``."""
    torch: Any = ModuleType("torch")
    own = {name: value for name, value in globals().items() if not name.startswith("_")}
    torch.__dict__.update(own, from_numpy=Tensor, sparse_csr_tensor=SparseCsr)
    torch.tensor = lambda values: Tensor(np.array(values))
    torch.zeros = lambda *shape: Tensor(np.zeros(shape, np.float32))
    torch.randint = lambda low, high, shape: Tensor(np.random.default_rng(7).integers(low, high, shape))
    torch.get_num_threads = lambda: 2
    torch.empty = lambda *shape, device: Tensor(np.empty(shape, np.float32), device)
    once = SimpleNamespace(once_differentiable=lambda function: function)
    torch.autograd = SimpleNamespace(Function=Function, function=once)
    torch.nn = SimpleNamespace(Module=Module, Parameter=Parameter, Linear=Linear)
    torch.optim = SimpleNamespace(Optimizer=Optimizer, AdamW=Optimizer)
    torch.__file__ = sys.modules[__name__].__file__
    return torch  # type: ignore[no-any-return]
