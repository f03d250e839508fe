"""One layer of PyTorch in a process of its own: `python -m benchmarks.layer_process NAME WIDTH DENSITY BATCH THREADS`.

Each number on standard input is answered with the seconds of so many training steps, or after "memory" with bytes.
A process of its own, as libraries keep their idle threads awake beside others, and for its memory.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

Make = Callable[[int, float], torch.nn.Module]
RATE = 1e-3
SEED = 1


def ours(width: int, density: float) -> torch.nn.Module:
    """The layer of hpc_sparse."""
    from hpc_sparse.interop import SparseLinear

    return SparseLinear(width, width, density=density, seed=SEED)


def dense(width: int, density: float) -> torch.nn.Module:  # noqa: ARG001  (it has one density)
    """PyTorch's own layer."""
    return torch.nn.Linear(width, width)


class Masked(torch.nn.Linear):
    """The dense layer with a mask, whose gradient goes through the product with the mask."""

    def __init__(self, width: int, density: float) -> None:
        super().__init__(width, width)
        self.register_buffer("mask", (torch.rand(width, width) < density).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight * self.mask, self.bias)


def sparselab(width: int, density: float) -> torch.nn.Module:
    """The package sparselab: padded CSR, C++ kernels."""
    import sparselab

    return sparselab.SparseLinear(width, width, sparsity=1.0 - density, padding_ratio=0.0)


def sparseprop(width: int, density: float) -> torch.nn.Module:
    """The package sparseprop (Nikdan et al. 2023)."""
    from sparseprop.modules import SparseLinear

    weight = torch.randn(width, width) * (torch.rand(width, width) < density)
    return SparseLinear(weight, bias=torch.nn.Parameter(torch.zeros(width)))


LAYERS: dict[str, Make] = {
    "hpc_sparse": ours,
    "nn.Linear": dense,
    "nn.Linear, masked": Masked,
    "sparselab": sparselab,
    "sparseprop": sparseprop,
}


def kilobytes(name: str) -> int:
    """A line of the process's status: VmRSS, memory now; VmHWM, the most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def make_step(layer: torch.nn.Module, width: int, batch: int) -> Callable[[], object]:
    """A training step: forward, backward by inputs and parameters, AdamW."""
    x, delta = torch.randn(batch, width).requires_grad_(), torch.randn(batch, width) / batch
    optimizer = torch.optim.AdamW(layer.parameters(), lr=RATE)

    def step() -> None:
        x.grad = None
        optimizer.zero_grad(set_to_none=True)
        layer(x).backward(delta)
        optimizer.step()

    return step


def make_conversions(width: int, batch: int, n_threads: int) -> Callable[[], object]:
    """What our layer adds in a step for rows of samples: two batches into tiles, two back."""
    import numpy as np

    from hpc_sparse.interop.trainable_map import to_rows, to_tiles
    from hpc_sparse.kernels.simd.machine import tile_width
    from hpc_sparse.kernels.threads import use_threads

    use_threads(n_threads)
    rows, own = np.ones((batch, width), np.float32), tile_width((width, width))
    return lambda: [to_rows(to_tiles(rows, own), batch) for _ in range(2)]


def main(name: str, width: int, density: float, batch: int, n_threads: int) -> None:
    """Answer lines until there are no more."""
    torch.manual_seed(SEED)
    torch.set_num_threads(n_threads)
    if name == "conversions":
        step = make_conversions(width, batch, n_threads)
        step()
        before = 0
    else:
        make_step(LAYERS[name](16, 0.5), 16, 16)()  # libraries and kernels are there before memory is looked at
        before = kilobytes("VmRSS")
        step = make_step(LAYERS[name](width, density), width, batch)
    for line in sys.stdin:
        if line.strip() == "memory":
            print((kilobytes("VmHWM") - before) << 10, (kilobytes("VmRSS") - before) << 10, flush=True)
            continue
        started = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
