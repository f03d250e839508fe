"""Connections in groups of inputs: the bits of unstructured ones, a byte for each, and never more than N in a group."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_sparse.errors import FileFormatError
from hpc_sparse.kernels.simd.activation import record_words
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.group_pattern import GroupPattern
from hpc_sparse.network.connections.grouped_index import GroupedIndex
from hpc_sparse.network.connections.n_of_m import NOfM
from hpc_sparse.network.connections.protocol import Epilogue, Gate
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.sinks import DescendMap, WriteMap, new_scratch
from hpc_sparse.network.tiles import Tiles

SLOPE = np.float32(0.3)
SIZES = [
    ("2:4", 13, 37),
    ("1:4", 300, 70),
    ("26:256", 300, 600),
    ("3:7", 270, 101),
    ("7:7", 5, 20),
    ("256:256", 3, 256),
]


def drawn(pattern, n_out, n_in, seed=5):
    return GroupedIndex.random((n_out, n_in), GroupPattern.parse(pattern), np.uint64(seed))


def counts_of(topology, pattern):
    """int64[n_out, n_groups]: connections in each group, by NumPy."""
    n_out, n_in = topology.shape
    n_groups = -(-n_in // pattern.m)
    keys = topology.outs() * n_groups + topology.indices // pattern.m
    return np.bincount(keys, minlength=n_out * n_groups).reshape(n_out, n_groups)


def assert_pattern(topology, pattern):
    """Every group has exactly its number."""
    topology.check()
    counts = counts_of(topology, pattern)
    assert (counts[:, :-1] == pattern.n).all()
    assert (counts[:, -1] == pattern.last_count(topology.shape[1])).all()


def results_of(connections, source, delta, width, below_dtype=np.float32):
    """Everything that connections compute, by name."""
    n_out, n_in = connections.shape
    bias = np.linspace(-1, 1, n_out, dtype=np.float32)
    source, delta = Tiles.of(source, width), Tiles.of(delta, width)
    out, trained, below = (Tiles.empty(n, source.n_columns, width) for n in (n_out, n_out, n_in))
    record = np.zeros(n_out * record_words(delta.n_columns), np.uint16)
    connections.product(source, Epilogue(bias, SLOPE), out)
    connections.product(source, Epilogue(bias, SLOPE, Dropout(0.4, np.uint64(8)), record), trained)
    connections.transposed(delta, None, below)
    alone = np.empty(n_out, np.float32)
    connections.product_alone(np.ascontiguousarray(source.matrix()[:, 0]), bias, SLOPE, alone)
    found = {"product": out, "training": trained, "record": record, "transposed": below, "alone": alone}
    found["gradient"] = connections.gradient_of(delta, source)
    written = WriteMap(np.empty_like(connections.weight), np.empty_like(bias), new_scratch)
    connections.gradient(delta, source, written)
    found["written"], found["bias"] = written.weight_gradient, written.bias_gradient
    gate_record = np.random.default_rng(4).integers(0, 1 << 16, n_in * record_words(delta.n_columns)).astype(np.uint16)
    for gate in (None, Gate(SLOPE, np.float32(2), gate_record)):
        both = Tiles.empty(n_in, source.n_columns, width)
        both.values[:] = source.values
        scratch = aligned_empty(2 * connections.weight.size, np.float32)
        arrays = (connections.weight, bias, np.full_like(connections.weight, 0.5), np.full_like(bias, 0.25))
        step = np.float32(0.1), np.float32(0.9), np.float32(0.01), True
        sink = DescendMap(*step, *arrays, lambda n, scratch=scratch: scratch[:n])
        connections.transposed_and_gradient(delta, both, gate, sink, both)
        connections.gradient(delta, source, sink)
        found |= {f"{name} {gate is None}": values.copy() for name, values in zip("wbvu", arrays, strict=True)}
        found[f"deltas {gate is None}"] = both
    found["in"], found["out"] = connections.incoming_strength(), connections.outgoing_strength()
    return {name: values.values if isinstance(values, Tiles) else values for name, values in found.items()}


@pytest.mark.parametrize("n_batch", [5, 48, 240])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("pattern", "n_out", "n_in"), SIZES)
def test_everything_has_the_bits_of_unstructured_connections_on_any_number_of_threads(
    make_columns, on_every_thread_count, pattern, n_out, n_in, width, n_batch
):
    index = drawn(pattern, n_out, n_in)
    weight = np.random.default_rng(1).standard_normal(index.position.size).astype(np.float32)
    source, delta = make_columns(n_in, n_batch, seed=2), make_columns(n_out, n_batch, seed=3)
    expected = results_of(Csr(index.topology(), weight.copy()), source, delta, width)
    for found in on_every_thread_count(lambda: results_of(NOfM(index, weight.copy()), source, delta, width)):
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert found[name].tobytes() == values.tobytes(), name


@pytest.mark.parametrize("width", WIDTHS)
def test_bfloat16_activations_have_the_bits_of_unstructured_connections(width):
    index, rng = drawn("3:7", 30, 101), np.random.default_rng(0)
    weight = rng.standard_normal(index.position.size).astype(np.float32)
    found = []
    halves = [rng.standard_normal((n, 240), np.float32).view(np.uint16)[:, 1::2].copy() for n in (101, 30)]
    for connections in (Csr(index.topology(), weight), NOfM(index, weight)):
        source, delta = (Tiles.of(each, width) for each in halves)
        out, below = (Tiles.empty(n, 120, width, np.uint16) for n in (30, 101))
        connections.product(source, Epilogue(np.zeros(30, np.float32), SLOPE), out)
        gate = Gate(SLOPE, np.float32(1), np.full(101 * record_words(source.n_columns), 0x5555, np.uint16))
        sink = WriteMap(np.empty_like(weight), np.empty(30, np.float32), new_scratch)
        connections.transposed_and_gradient(delta, source, gate, sink, below)
        found.append([out.values.tobytes(), below.values.tobytes(), sink.weight_gradient.tobytes()])
    assert found[0] == found[1]


@given(st.integers(1, 20).flatmap(lambda m: st.tuples(st.integers(1, m), st.just(m))), st.integers(1, 9), st.data())
def test_a_drawn_group_never_has_more_or_fewer_than_its_number(pattern, n_out, data):
    pattern = GroupPattern(*pattern)
    n_in = data.draw(st.integers(pattern.m, 70))
    index = GroupedIndex.random((n_out, n_in), pattern, np.uint64(data.draw(st.integers(0, 99))))
    assert_pattern(index.topology(), pattern)
    assert NOfM(index, np.ones(index.position.size, np.float32)).weight.size == n_out * pattern.fan_in(n_in)


def test_every_choice_within_a_group_is_equally_likely():
    index = drawn("2:4", 3000, 40)
    pairs = index.position.reshape(-1, 2)
    counts = np.bincount(pairs[:, 0] * 4 + pairs[:, 1], minlength=16)[[1, 2, 3, 6, 7, 11]]
    expected = pairs.shape[0] / 6
    assert counts.sum() == pairs.shape[0]
    assert (np.square(counts - expected) / expected).sum() < 20.5  # 0.1 % of chi-square with 5 degrees of freedom


def test_a_draw_depends_on_its_key_alone(on_every_thread_count):
    (first, other), together = on_every_thread_count(
        lambda: [drawn("3:8", 500, 77, seed).position.tolist() for seed in (5, 6)]
    )
    assert [first, other] == together
    assert first != other


def test_connections_in_compressed_rows_come_back_or_become_unstructured():
    index = drawn("3:7", 30, 101)
    connections = NOfM(index, np.arange(index.position.size, dtype=np.float32))
    back = connections.rewired(connections.topology, connections.weight)
    assert isinstance(back, NOfM)
    assert back.index.position.tobytes() == index.position.tobytes()
    keys = connections.topology.keys()
    fewer = connections.rewired(Topology.from_keys((30, 101), keys[1:]), connections.weight[1:])
    assert isinstance(fewer, Csr)
    moved = keys.copy()
    moved[0] = np.setdiff1d(np.arange(7, 14), keys)[0]  # as many in the row, one group has one more
    moved.sort()
    assert isinstance(connections.rewired(Topology.from_keys((30, 101), moved), connections.weight), Csr)


def test_a_copy_and_a_pickled_one_are_the_same_without_what_can_be_made_again():
    index = drawn("2:4", 40, 40)
    connections = NOfM(index, np.ones(index.position.size, np.float32))
    before = len(pickle.dumps(connections))
    assert index.columns.outs.size == index.position.size
    assert len(pickle.dumps(connections)) == before
    again = pickle.loads(pickle.dumps(connections))
    assert again.index.position.tobytes() == index.position.tobytes()
    connections.forget_transposed()
    assert "columns" not in index.__dict__


@pytest.mark.parametrize("pattern", ["26:256", "3:256", "128:256", "2:4"])
def test_the_index_takes_the_bytes_that_a_plan_says_and_few_beside_unstructured_connections(pattern):
    n_out, n_in = 1000, 1024
    index = drawn(pattern, n_out, n_in)
    connections = NOfM(index, np.ones(index.position.size, np.float32))
    n, columns = connections.weight.size, index.columns
    planned = NOfM.n_bytes(n_out, n_in, n)
    assert sum(planned.structure.values()) == index.position.nbytes
    assert planned.weights == connections.weight.nbytes
    assert planned.transposed == sum(each.nbytes for each in columns[:4])
    topology = connections.topology
    assert planned.topology == topology.indices.nbytes + topology.indptr.nbytes
    csr = Csr.n_bytes(n_out, n_in, n)
    together, unstructured = (sum(each.structure.values()) + each.weights + each.transposed for each in (planned, csr))
    assert together <= 0.65 * unstructured


def test_a_stored_state_comes_back_and_a_wrong_one_is_refused():
    index = drawn("3:7", 4, 24)
    connections = NOfM(index, np.ones(index.position.size, np.float32))
    state = connections.state()
    assert state.settings == {"pattern": "3:7"}
    sizes = NOfM.stored_sizes((4, 24), state.n_units, state.settings)
    assert sizes.structure["position"].n_items == sizes.n_values == state.n_units
    NOfM.check_state("file", state)
    assert NOfM.from_state(state, connections.weight).index.position.tobytes() == index.position.tobytes()
    with pytest.raises(ValueError, match="41 connections: expected 44, 3:7 of 4 x 24"):
        NOfM.stored_sizes((4, 24), 41, state.settings)
    for settings, message in (({}, "none: expected pattern"), ({"pattern": "5:4"}, "pattern: must be N:M with 1 <= N")):
        with pytest.raises(ValueError, match=message):
            NOfM.stored_sizes((4, 24), 44, settings)
    for k, value in ((1, 7), (1, index.position[0]), (10, 3)):
        position = index.position.copy()
        position[k] = value
        with pytest.raises(FileFormatError, match=f"file/position: {value} at {k}: expected increasing numbers"):
            NOfM.check_state("file", replace(state, structure={"position": position}))


TRANSPOSABLE = GroupPattern(2, 4, is_transposable=True)


def test_a_transposable_pattern_is_stored_and_a_file_with_too_many_of_an_input_is_refused():
    index = GroupedIndex.random((22, 24), TRANSPOSABLE, np.uint64(3))
    connections = NOfM(index, np.ones(index.position.size, np.float32))
    state = connections.state()
    assert state.settings == {"pattern": "2:4", "transposable": 1}
    NOfM.check_state("file", state)
    assert NOfM.from_state(state, connections.weight).index.pattern == TRANSPOSABLE
    position = index.position.copy()
    position.reshape(22, 6, 2)[4:7, 0] = [0, 1]  # three of four neurons with the same inputs
    with pytest.raises(FileFormatError, match="file/position: 0 at 72: expected an input that at most 2 of each 4"):
        NOfM.check_state("file", replace(state, structure={"position": position}))
    with pytest.raises(ValueError, match="the layer has 25 inputs, and of the last 1 of them 1 x 2 / 4 connections"):
        NOfM.stored_sizes((22, 25), 22 * 13, state.settings)
    with pytest.raises(ValueError, match="settings pattern, transposable: expected pattern"):
        NOfM.stored_sizes((22, 24), 22 * 12, {"pattern": "2:4", "transposable": 0})


def test_connections_that_break_a_transposable_pattern_become_unstructured():
    index = GroupedIndex.random((16, 8), TRANSPOSABLE, np.uint64(3))
    connections = NOfM(index, np.ones(index.position.size, np.float32))
    assert isinstance(connections.rewired(connections.topology, connections.weight), NOfM)
    rows = np.arange(16)[:, None] * 8 + np.array([0, 1, 4, 5])
    assert isinstance(connections.rewired(Topology.from_keys((16, 8), rows.reshape(-1)), connections.weight), Csr)


@pytest.mark.parametrize(
    ("text", "message"),
    [("4:2", "1 <= N <= M"), ("0:4", "1 <= N <= M"), ("2:257", "M <= 256"), ("2-4", 'such as "2:4"'), ("", "N:M")],
)
def test_a_pattern_that_is_none_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        GroupPattern.parse(text)
