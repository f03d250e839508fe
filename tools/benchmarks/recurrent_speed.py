"""Milliseconds of a training step of a recurrent network by its connections, beside PyTorch's dense one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks import report
from benchmarks.timing import interleave
from hpc_sparse.config import NetworkSection
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles

N_STEPS, N_INPUTS, N_CLASSES = 28, 28, 10
"""Images of Fashion-MNIST, row by row."""

RATE, MOMENTUM = 1e-4, 0.9
DENSE, TORCH = "dense", "PyTorch, dense"


def measure_recurrent(n: int, density: float, batch: int, n_threads: int, n_rounds: int, *, as_json: bool) -> None:
    """Print the time of a step of one GRU layer of ``n`` neurons and an output layer, SGD with momentum."""
    use_threads(n_threads)
    connections = {
        "csr": {"density": density},
        "block 4 x 4": {"density": density, "connections": "block", "block": [4, 4]},
        "block 16 x 16": {"density": density, "connections": "block", "block": [16, 16]},
        DENSE: {"connections": "dense"},
    }
    networks = {name: _network(n, settings) for name, settings in connections.items()}
    cases = {name: _step(network, batch) for name, network in networks.items()}
    notes = [
        f"{N_STEPS} steps of {N_INPUTS} inputs, {n_threads} threads; {INSTRUCTION_SET.name} instructions",
        f"median (least - most) of {n_rounds} rounds, interleaved; numbers of weights without biases",
    ]
    try:
        cases[TORCH] = _torch_step(n, batch, n_threads)
    except ImportError as error:
        notes.append(f"left out: {TORCH} ({error})")
    timings = interleave(cases, n_rounds)
    slowest = timings[TORCH if TORCH in timings else DENSE].median
    rows: list[dict[str, object]] = []
    for name, timing in timings.items():
        dense = networks[DENSE].n_connections
        number = networks[name].n_connections if name in networks else dense
        rows.append(
            {
                "connections": name,
                "number": f"{number:,}",
                "step, ms": str(timing.scaled(1e3)),
                f"{TORCH if TORCH in timings else DENSE} takes, times": f"{slowest / timing.median:.2f}",
            }
        )
    report.show(f"GRU of {n} neurons, density {density}, batch {batch}", rows, notes, as_json=as_json)


def _network(n: int, settings: dict[str, object]) -> Network:
    layer = {"kind": "recurrent", "n": n, "cell": "gru", "output": "last", **settings}
    section = NetworkSection.model_validate({"layers": [layer], "initializer": "he_fan_in", "density": 1.0})
    return Network.from_config(section, N_INPUTS, N_CLASSES, seed=0, n_places=N_STEPS)


def _step(network: Network, batch: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    sequences = Tiles.empty(N_INPUTS, batch, network.tile_width, n_places=N_STEPS)
    sequences.values[:] = rng.standard_normal(sequences.values.size, np.float32)
    labels = rng.integers(0, N_CLASSES, batch).astype(np.int32)
    replica, workspace = Replica.at_rest(network), network.make_workspace(batch)
    dropouts, sgd = [Dropout(0.0, np.uint64(0))], Sgd(MOMENTUM)
    return lambda: replica.train_batch(sequences, labels, CrossEntropy(), dropouts, sgd, RATE, workspace)


def _torch_step(n: int, batch: int, n_threads: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    gru, last = torch.nn.GRU(N_INPUTS, n, batch_first=True), torch.nn.Linear(n, N_CLASSES)
    optimizer = torch.optim.SGD([*gru.parameters(), *last.parameters()], lr=RATE, momentum=MOMENTUM)
    sequences, labels = torch.randn(batch, N_STEPS, N_INPUTS), torch.randint(0, N_CLASSES, (batch,))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        states, _ = gru(sequences)
        torch.nn.functional.cross_entropy(last(states[:, -1]), labels).backward()
        optimizer.step()

    return step
