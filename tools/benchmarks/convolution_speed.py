"""A training step of a convolution by its share of the taps, beside PyTorch's conv2d of equal shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks import report
from benchmarks.timing import interleave
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.layers.convolution import ConvolutionLayer
from hpc_sparse.network.layers.convolution_section import ConvolutionSection
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles

KERNEL = 3
SHARES = (1.0, 0.5, 0.25, 0.1)
RATE, MOMENTUM = 1e-6, 0.9
TORCH = "PyTorch, conv2d"
TORCH_LAST = "PyTorch, conv2d, channels last"


def measure_convolution(channels: int, side: int, batch: int, n_threads: int, n_rounds: int, *, as_json: bool) -> None:
    """Milliseconds of forward pass, deltas below, gradients and update of one layer of ReLU neurons."""
    use_threads(n_threads)
    cases, notes = dict[str, Callable[[], object]](), [f"{n_threads} threads; {KERNEL} x {KERNEL}, stride 1"]
    for share in SHARES:
        cases[f"{share:.0%} of the taps"] = _step(channels, side, batch, share)
    try:
        cases[TORCH] = _torch_step(channels, side, batch, n_threads, is_last=False)
        cases[TORCH_LAST] = _torch_step(channels, side, batch, n_threads, is_last=True)
    except ImportError as error:
        notes.append(f"left out: PyTorch ({error})")
    timings = interleave(cases, n_rounds)
    peers = [timings[name].median for name in (TORCH, TORCH_LAST) if name in timings]
    rows: list[dict[str, object]] = []
    for name, timing in timings.items():
        row: dict[str, object] = {"convolution": name, "step, ms": str(timing.scaled(1e3))}
        if peers:
            row["the faster PyTorch takes, times"] = f"{min(peers) / timing.median:.2f}"
        rows.append(row)
    title = f"convolution of {channels} to {channels} channels, {side} x {side} places, batch {batch}"
    report.show(title, rows, notes, as_json=as_json)


def _step(channels: int, side: int, batch: int, share: float) -> Callable[[], object]:
    section = ConvolutionSection(kind="convolution", n=channels, kernel=KERNEL, density=share)
    blueprint = LayerBlueprint(
        0,
        (channels, channels),
        share,
        "relu",
        0.0,
        "he_fan_in",
        0,
        "constant_fan_in",
        section=section,
        grid=(side, side),
    )
    layer = ConvolutionLayer.random(blueprint)
    network = Network([layer])
    replica, rng = Replica.at_rest(network), np.random.default_rng(0)
    source, out, below, delta = (
        Tiles.empty(channels, batch, network.tile_width, n_places=side * side) for _ in range(4)
    )
    for each in (source, delta):
        each.values[:] = rng.standard_normal(each.values.size, np.float32)
    saved = {
        name: aligned_empty(own.shape, np.dtype(own.dtype).type)
        for name, own in layer.saved_arrays(source.batch).items()
    }
    room, sgd = np.empty(2 * layer.incoming.weight.size + channels, np.float32), Sgd(MOMENTUM)

    def step() -> None:
        layer.forward(source, out, saved)
        layer.backward(delta, source, saved, None, sgd.sink(RATE, replica.states[0], lambda n: room[:n]), below)

    return step


def _torch_step(channels: int, side: int, batch: int, n_threads: int, *, is_last: bool) -> Callable[[], object]:
    import torch

    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2)
    source, delta = (torch.randn(batch, channels, side, side) for _ in range(2))
    if is_last:
        layer = layer.to(memory_format=torch.channels_last)
        source, delta = (each.to(memory_format=torch.channels_last) for each in (source, delta))
    source.requires_grad_()
    optimizer = torch.optim.SGD(layer.parameters(), lr=RATE, momentum=MOMENTUM)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        source.grad = None
        torch.relu(layer(source)).backward(delta)
        optimizer.step()

    return step
