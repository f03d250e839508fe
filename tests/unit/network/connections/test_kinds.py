"""Kinds of connections: whatever the kernels, the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.dense import Dense
from hpc_sparse.network.connections.protocol import Epilogue, Gate
from hpc_sparse.network.connections.registry import CONNECTIONS, unstructured, with_reserve
from hpc_sparse.network.connections.reserve import Reserve
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.sinks import DescendMap, WriteMap

N_OUT, N_IN = 13, 37
BATCHES = [5, 32, 64, 120, 128]
BIAS = np.linspace(-1, 1, N_OUT, dtype=np.float32)


def complete(n_out=N_OUT, n_in=N_IN):
    topology = Topology.from_keys((n_out, n_in), np.arange(n_out * n_in))
    return topology, np.random.default_rng(3).standard_normal(n_out * n_in).astype(np.float32)


def zeros_like(array):
    values = aligned_empty(array.shape, array.dtype.type)
    values.fill(0)
    return values


def descending(weight):
    scratch = aligned_empty(weight.size, np.float32)
    arrays = (weight, BIAS.copy(), np.full_like(weight, 0.5), np.full_like(BIAS, 0.25))
    return DescendMap(np.float32(0.1), np.float32(0.9), np.float32(0.01), True, *arrays, lambda n: scratch[:n])


def results_of(connections, make_columns, n_batch):
    """Everything that connections compute, by name."""
    source, delta = make_columns(N_IN, n_batch), make_columns(N_OUT, n_batch, seed=3)
    out, trained, below = zeros_like(delta), zeros_like(delta), zeros_like(source)
    record = np.zeros((N_OUT, record_words(delta.shape[1])), np.uint16)
    connections.product(source, Epilogue(BIAS, np.float32(0.3)), out)
    dropout = Dropout(0.4, np.uint64(8))
    connections.product(source, Epilogue(BIAS, np.float32(0.3), dropout, record), trained)
    connections.transposed(delta, None, below)
    alone = np.empty(N_OUT, np.float32)
    connections.product_alone(np.ascontiguousarray(source[:, 0]), BIAS, np.float32(0.3), alone)
    written = WriteMap(np.empty_like(connections.weight), np.empty_like(BIAS))
    connections.gradient(delta, source, written)
    moved = descending(connections.weight)
    gate, both = (
        Gate(np.float32(0.3), np.float32(2), np.full((N_IN, record_words(delta.shape[1])), 0x0F33, np.uint16)),
        source.copy(),
    )
    connections.transposed_and_gradient(delta, both, gate, moved, both)
    return {
        "product": out,
        "product in training": trained,
        "record": record,
        "transposed": below,
        "product alone": alone,
        "gradient of": connections.gradient_of(delta, source),
        "weight gradient": written.weight_gradient,
        "bias gradient": written.bias_gradient,
        "deltas": both,
        "weight after": moved.weight,
        "bias after": moved.bias,
        "weight velocity": moved.weight_velocity,
        "bias velocity": moved.bias_velocity,
        "incoming": connections.incoming_strength(),
        "outgoing": connections.outgoing_strength(),
        "matrix": connections.to_csr().toarray(),
    }


@pytest.mark.parametrize("n_batch", BATCHES)
@pytest.mark.parametrize("other", [Dense, lambda *each: Reserve(*each, 1.0)], ids=["dense", "reserve of which all act"])
def test_every_kind_gives_the_same_bits_where_all_pairs_are_connected(make_columns, n_batch, other):
    topology, weight = complete()
    expected = results_of(Csr(topology, weight.copy()), make_columns, n_batch)
    found = results_of(other(topology, weight.copy()), make_columns, n_batch)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].tobytes() == values.tobytes(), name


@pytest.mark.parametrize("n_batch", BATCHES)
def test_deltas_without_a_gate_are_those_through_one_that_lets_everything_pass(make_connections, make_columns, n_batch):
    layer = make_connections(43, 37)
    connections, delta = unstructured(layer.topology, layer.weight), make_columns(43, n_batch)
    plain, gated = (aligned_empty((37, delta.shape[1]), np.float32) for _ in range(2))
    everything = np.full((37, record_words(delta.shape[1])), 0xFFFF, np.uint16)
    connections.transposed(delta, None, plain)
    connections.transposed(delta, Gate(np.float32(1), np.float32(1), everything), gated)
    assert plain.tobytes() == gated.tobytes()
    matrix = connections.to_csr().astype(np.float64)
    np.testing.assert_allclose(plain, matrix.T @ delta, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_batch", BATCHES)
@pytest.mark.parametrize("has_gate", [False, True])
def test_both_at_once_are_each_alone(make_connections, make_columns, n_batch, has_gate):
    layer = make_connections(43, 37)
    connections, delta = unstructured(layer.topology, layer.weight), make_columns(43, n_batch)
    source = make_columns(37, n_batch, seed=5)
    record = np.full((37, record_words(delta.shape[1])), 0x0F33, np.uint16)
    gate = Gate(np.float32(-0.6), np.float32(1.5), record) if has_gate else None
    below = zeros_like(source)
    connections.transposed(delta, gate, below)
    alone = WriteMap(np.empty_like(layer.weight), np.empty_like(layer.bias))
    connections.gradient(delta, source, alone)
    together = WriteMap(np.empty_like(layer.weight), np.empty_like(layer.bias))
    connections.transposed_and_gradient(delta, source, gate, together, source)
    np.testing.assert_allclose(source, below, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(together.weight_gradient, alone.weight_gradient, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(together.bias_gradient, alone.bias_gradient)


def test_dense_connections_of_which_some_go_are_unstructured_and_dense_again_when_all_are_back():
    topology, weight = complete()
    connections = unstructured(topology, weight)
    assert type(connections) is Dense
    fewer = connections.rewired(Topology.from_keys(topology.shape, topology.keys()[1:]), weight[1:])
    assert type(fewer) is Csr
    assert type(unstructured(fewer.topology, fewer.weight)) is Csr
    with pytest.raises(AssertionError):
        Dense(fewer.topology, fewer.weight)


def test_connections_with_a_reserve_keep_its_share():
    topology, weight = complete()
    connections = with_reserve(unstructured(topology, weight), 0.25)
    assert type(connections) is Reserve
    fewer = connections.rewired(Topology.from_keys(topology.shape, topology.keys()[1:]), weight[1:])
    copied = fewer.copy()
    assert (type(fewer), fewer.acting_share) == (type(copied), copied.acting_share) == (Reserve, 0.25)
    assert not np.shares_memory(fewer.weight, copied.weight)
    plain = unstructured(topology, weight)
    assert with_reserve(plain, 1.0) is plain


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_structure_and_weights_make_the_same_connections_again(kind):
    topology, weight = complete()
    connections = CONNECTIONS[kind](topology, weight)
    structure = connections.structure()
    sizes = [array.size for array in structure.values()]
    assert [array.dtype for array in structure.values()] == connections.structure_dtypes(sizes)
    again = connections.rebuilt(topology.shape, structure, weight)
    assert type(again) is type(connections)
    assert again.kind == kind
    np.testing.assert_array_equal(again.topology.keys(), topology.keys())
