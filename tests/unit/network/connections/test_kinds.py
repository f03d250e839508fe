"""Kinds of connections: whatever the kernels, the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd import machine
from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.network.connections.block import Block
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.dense import Dense
from hpc_sparse.network.connections.group_pattern import GroupPattern
from hpc_sparse.network.connections.grouped_index import GroupedIndex
from hpc_sparse.network.connections.n_of_m import NOfM
from hpc_sparse.network.connections.protocol import Epilogue, Gate
from hpc_sparse.network.connections.registry import CONNECTIONS, unstructured, with_reserve
from hpc_sparse.network.connections.reserve import Reserve
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.sinks import DescendMap, WriteMap, new_scratch
from hpc_sparse.network.tiles import Tiles

N_OUT, N_IN = 13, 37
BATCHES = [5, 32, 48, 64, 96, 112, 120, 128, 144, 240]
BIAS = np.linspace(-1, 1, N_OUT, dtype=np.float32)


def complete(n_out=N_OUT, n_in=N_IN):
    topology = Topology.from_keys((n_out, n_in), np.arange(n_out * n_in))
    return topology, np.random.default_rng(3).standard_normal(n_out * n_in).astype(np.float32)


def in_one_group(topology, weight):
    """Connections of a pattern that has them all."""
    index = GroupedIndex.of(topology, GroupPattern(topology.shape[1], topology.shape[1]))
    assert index is not None
    return NOfM(index, weight)


def in_single_blocks(topology, weight):
    """Connections in blocks of one weight."""
    return Block.of(topology.shape, (1, 1), topology, weight)


MAKERS = {NOfM.kind: in_one_group, Block.kind: in_single_blocks}
"""How kinds with settings are made of a complete topology and weights."""


def made(kind, topology, weight):
    return MAKERS.get(kind, CONNECTIONS[kind])(topology, weight)


def zeros_like(tiles):
    zeros = tiles.like(tiles.n_neurons)
    zeros.values.fill(0)
    return zeros


def copy_of(tiles):
    copied = tiles.like(tiles.n_neurons)
    copied.values[:] = tiles.values
    return copied


def record_of(tiles, word=0):
    """A record of which all words are the same, so that it is the same for tiles of any width."""
    return np.full(tiles.n_neurons * record_words(tiles.n_columns), word, np.uint16)


def room_for(weight, bias=BIAS):
    return WriteMap(np.empty_like(weight), np.empty_like(bias), new_scratch)


def descending(weight):
    scratch = aligned_empty(2 * weight.size, np.float32)
    arrays = (weight, BIAS.copy(), np.full_like(weight, 0.5), np.full_like(BIAS, 0.25))
    return DescendMap(np.float32(0.1), np.float32(0.9), np.float32(0.01), True, *arrays, lambda n: scratch[:n])


def results_of(connections, make_columns, n_batch, width):
    """Everything that connections compute, by name."""
    source, delta = (Tiles.of(make_columns(n, n_batch, seed=n), width) for n in (N_IN, N_OUT))
    out, trained, below = zeros_like(delta), zeros_like(delta), zeros_like(source)
    record = record_of(delta)
    connections.product(source, Epilogue(BIAS, np.float32(0.3)), out)
    dropout = Dropout(0.4, np.uint64(8))
    connections.product(source, Epilogue(BIAS, np.float32(0.3), dropout, record), trained)
    connections.transposed(delta, None, below)
    alone = np.empty(N_OUT, np.float32)
    connections.product_alone(np.ascontiguousarray(source.matrix()[:, 0]), BIAS, np.float32(0.3), alone)
    written, stepped = room_for(connections.weight), descending(connections.weight.copy())
    connections.gradient(delta, source, written)
    gradient_of = connections.gradient_of(delta, source)
    stepping = connections.rewired(connections.topology, stepped.weight)
    stepping.gradient(delta, source, stepped)
    moved = descending(connections.weight)
    gate, both = Gate(np.float32(0.3), np.float32(2), record_of(source, 0x0F33)), copy_of(source)
    connections.transposed_and_gradient(delta, both, gate, moved, both)
    return {
        "product": out.matrix(),
        "product in training": trained.matrix(),
        "record": record,
        "transposed": below.matrix(),
        "product alone": alone,
        "gradient of": gradient_of,
        "weight gradient": written.weight_gradient,
        "bias gradient": written.bias_gradient,
        "weight after a step alone": stepped.weight,
        "bias after a step alone": stepped.bias,
        "deltas": both.matrix(),
        "weight after": moved.weight,
        "bias after": moved.bias,
        "weight velocity": moved.weight_velocity,
        "bias velocity": moved.bias_velocity,
        "incoming": connections.incoming_strength(),
        "outgoing": connections.outgoing_strength(),
        "matrix": connections.to_csr().toarray(),
    }


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_batch", BATCHES)
@pytest.mark.parametrize(
    "other",
    [Dense, lambda *each: Reserve(*each, 1.0), in_one_group],
    ids=["dense", "reserve of which all act", "one group"],
)
def test_every_kind_gives_the_same_bits_where_all_pairs_are_connected(make_columns, n_batch, width, other):
    topology, weight = complete()
    expected = results_of(Csr(topology, weight.copy()), make_columns, n_batch, width)
    found = results_of(other(topology, weight.copy()), make_columns, n_batch, width)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].tobytes() == values.tobytes(), name


SAME_IN_ALL_TILES = ["product", "product in training", "transposed", "product alone", "deltas"]
"""What has the same bits whatever the width of the tiles; gradients of several tiles are added up tile by tile."""


@pytest.mark.parametrize("width", machine.WIDTHS[:-1])
@pytest.mark.parametrize("n_batch", BATCHES)
@pytest.mark.parametrize("kind", CONNECTIONS)
def test_tiles_of_any_width_give_the_same_bits_forward_and_backward(make_columns, n_batch, width, kind):
    topology, weight = complete()
    expected, found = (
        results_of(made(kind, topology, weight.copy()), make_columns, n_batch, each)
        for each in (machine.WIDTHS[-1], width)
    )
    is_single = Tiles.empty(1, n_batch, width).is_single
    for name, values in expected.items():
        if is_single or name in SAME_IN_ALL_TILES:
            assert found[name].tobytes() == values.tobytes(), name
        elif name != "record":
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_batch", BATCHES)
@pytest.mark.parametrize("kind", CONNECTIONS)
def test_gradients_are_those_of_float64_and_the_same_on_any_number_of_threads(
    make_columns, on_every_thread_count, n_batch, width, kind
):
    topology, weight = complete()
    alone, together = on_every_thread_count(
        lambda: results_of(made(kind, topology, weight.copy()), make_columns, n_batch, width)
    )
    assert {name: values.tobytes() for name, values in alone.items()} == {
        name: values.tobytes() for name, values in together.items()
    }
    source, delta = (make_columns(n, n_batch, seed=n)[:, :n_batch].astype(np.float64) for n in (N_IN, N_OUT))
    expected = (delta @ source.T).reshape(-1)
    for name in ("weight gradient", "gradient of"):
        np.testing.assert_allclose(alone[name], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(alone["bias gradient"], delta.sum(axis=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_batch", BATCHES)
def test_deltas_without_a_gate_are_those_through_one_that_lets_everything_pass(
    make_connections, make_columns, n_batch, width
):
    layer = make_connections(43, 37)
    connections, delta = unstructured(layer.topology, layer.weight), Tiles.of(make_columns(43, n_batch), width)
    plain, gated = (delta.like(37) for _ in range(2))
    everything = record_of(plain, 0xFFFF)
    connections.transposed(delta, None, plain)
    connections.transposed(delta, Gate(np.float32(1), np.float32(1), everything), gated)
    assert plain.values.tobytes() == gated.values.tobytes()
    gated.values.fill(np.nan)
    connections.adjoint()(delta, gated)
    assert plain.values.tobytes() == gated.values.tobytes()
    matrix = connections.to_csr().astype(np.float64)
    np.testing.assert_allclose(plain.matrix(), matrix.T @ delta.matrix(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("n_batch", BATCHES)
@pytest.mark.parametrize("has_gate", [False, True])
def test_both_at_once_are_each_alone(make_connections, make_columns, n_batch, width, has_gate):
    layer = make_connections(43, 37)
    connections, delta = unstructured(layer.topology, layer.weight), Tiles.of(make_columns(43, n_batch), width)
    source = Tiles.of(make_columns(37, n_batch, seed=5), width)
    gate = Gate(np.float32(-0.6), np.float32(1.5), record_of(source, 0x0F33)) if has_gate else None
    below = zeros_like(source)
    connections.transposed(delta, gate, below)
    alone, together = (room_for(layer.weight, layer.bias) for _ in range(2))
    connections.gradient(delta, source, alone)
    connections.transposed_and_gradient(delta, source, gate, together, source)
    np.testing.assert_allclose(source.values, below.values, rtol=1e-5, atol=1e-5)
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
    connections = made(kind, topology, weight)
    structure = connections.structure()
    sizes = [array.size for array in structure.values()]
    assert [array.dtype for array in structure.values()] == connections.structure_dtypes(sizes)
    again = connections.rebuilt(topology.shape, structure, weight)
    assert type(again) is type(connections)
    assert again.kind == kind
    np.testing.assert_array_equal(again.topology.keys(), topology.keys())
