"""A guard against losing the kernels' speed: a ratio to SciPy's product measured in the same run, no absolute time.

The bounds are half of what a two-core virtual machine shows (tools/results/kernels_1_thread.txt), so that noise does
not fail them and a lost vectorisation, which costs a factor of five and more, does.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import scipy.sparse as sp

from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.kernels.simd.machine import tile_width
from hpc_sparse.kernels.sparse.forward import forward
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.connections.protocol import Gate
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.tiles import Tiles

N_NEURONS, DENSITY, BATCH = 1000, 0.04, 128
N_ROUNDS = 40
WIDTH = tile_width([N_NEURONS])
LEAST_RATIOS = {"forward": 2.0, "forward_train": 1.7, "backward_update": 1.7, "gradient_update": 1.5}
LEAST_DENSE_RATIO = 1.5


@pytest.fixture(scope="module")
def fastest_seconds() -> dict[str, float]:
    """The least time of each pass of one layer, and of SciPy's product, interleaved on one thread."""
    use_threads(1)
    topology = Topology.random((N_NEURONS, N_NEURONS), DENSITY, np.uint64(1))
    weight = draw_weights("he_uniform", topology, np.uint64(2))
    layer = SparseLayer.of(topology, weight, np.zeros(N_NEURONS, np.float32), 0.6)
    columns = aligned_empty((N_NEURONS, BATCH), np.float32)
    columns[:] = np.random.default_rng(0).standard_normal(columns.shape)
    source, delta, below, out = (Tiles.of(each, WIDTH) for each in (columns, columns[::-1], columns, columns))
    record, scratch = np.full(N_NEURONS * record_words(BATCH), 0xFFFF, np.uint16), np.empty(2 * weight.size, np.float32)
    dropout = Dropout(0.3, np.uint64(3))
    state = OptimizerState.at_rest(layer.parameters(), {"velocity": np.float32})
    sink = Sgd(0.9).sink(1e-9, state, lambda n: scratch[:n])
    gate = Gate(np.float32(layer.slope), dropout.scale, record)
    matrix = sp.csr_array((weight, topology.indices, topology.indptr), topology.shape)
    cases = {
        "scipy": lambda: matrix @ columns,
        "forward": lambda: layer.forward(source, out),
        "forward_train": lambda: layer.forward(source, out, {"record": record}, dropout),
        "backward_update": lambda: layer.backward(delta, below, {}, gate, sink, below),
        "gradient_update": lambda: layer.backward(delta, source, {}, None, sink, None),
    }
    return {name: min(times) for name, times in _interleaved(cases).items()}


@pytest.mark.parametrize("name", LEAST_RATIOS)
def test_a_pass_is_faster_than_the_same_arithmetic_in_scipy(fastest_seconds, name):
    n_products = 2 if name == "backward_update" else 1
    ratio = n_products * fastest_seconds["scipy"] / fastest_seconds[name]
    assert ratio >= LEAST_RATIOS[name], f"{name}: {ratio:.2f} times SciPy's speed, expected {LEAST_RATIOS[name]}"


def test_a_layer_with_every_connection_takes_the_faster_product():
    use_threads(1)
    n_out = 100
    topology = Topology.random((n_out, N_NEURONS), 1.0, np.uint64(1))
    weight = draw_weights("he_uniform", topology, np.uint64(2))
    layer = SparseLayer.of(topology, weight, np.zeros(n_out, np.float32), 1.0)
    source = Tiles.of(np.random.default_rng(0).standard_normal((N_NEURONS, BATCH)).astype(np.float32), WIDTH)
    out = source.like(n_out)
    sums = (topology.indptr, topology.indices, weight, layer.bias, source.values, np.float32(1))
    rows = (*sums, topology.bounds, WIDTH, out.values)
    cases = {"rows": lambda: forward(*rows), "chosen": lambda: layer.forward(source, out)}
    fastest = {name: min(times[1:]) for name, times in _interleaved(cases).items()}
    ratio = fastest["rows"] / fastest["chosen"]
    assert ratio >= LEAST_DENSE_RATIO, (
        f"{ratio:.2f} times the speed of the row by row pass, expected {LEAST_DENSE_RATIO}"
    )


def _interleaved(cases):
    seconds = {name: [] for name in cases}
    for _ in range(N_ROUNDS):
        for name, run in cases.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return seconds
