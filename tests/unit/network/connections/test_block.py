"""Connections in blocks, beside unstructured ones with the same weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpc_sparse.config import LayerSection
from hpc_sparse.errors import FileFormatError
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.block import Block, SingleBlock, grid
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.initial_weights import INITIALIZERS, draw_weights
from hpc_sparse.network.connections.registry import connections_from_state, random_connections
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.rng import Purpose

SHAPE = (37, 43)
UNITS = [(4, 4), (8, 16), (32, 1), (16, 16)]


def blueprint(unit, initializer="he_uniform", pattern="erdos_renyi", density=0.4):
    section = LayerSection(n=SHAPE[0], connections="block", block=unit)
    return LayerBlueprint(1, SHAPE, density, "relu", 0.0, initializer, 3, pattern, section=section)


def is_beyond(block):
    """Which weights are those of no pair of neurons."""
    inside = np.zeros(block.to_bsr().shape)
    inside[: SHAPE[0], : SHAPE[1]] = 1
    r, c = block.unit
    blocks = inside.reshape(block.topology.shape[0], r, block.topology.shape[1], c)
    return blocks[block.topology.outs(), :, block.topology.indices].reshape(-1) == 0


@pytest.mark.parametrize("initializer", INITIALIZERS)
@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_initial_weights_are_those_of_the_pairs_of_neurons(unit, initializer):
    block = random_connections(blueprint(unit, initializer))
    pairs = block.pairs()
    pairs.check()
    expected = draw_weights(initializer, pairs, blueprint(unit).key(Purpose.WEIGHTS))
    np.testing.assert_array_equal(block.to_csr().data, expected)
    assert (block.weight[is_beyond(block)] == 0).all()
    dense = block.to_bsr().toarray()
    np.testing.assert_array_equal(block.to_csr().toarray(), dense[: SHAPE[0], : SHAPE[1]])
    assert not dense[SHAPE[0] :].any()
    np.testing.assert_allclose(block.incoming_strength(), np.abs(dense).sum(axis=1)[: SHAPE[0]], rtol=1e-6)
    np.testing.assert_allclose(block.outgoing_strength(), np.abs(dense).sum(axis=0)[: SHAPE[1]], rtol=1e-6)


@pytest.mark.parametrize("pattern", ["constant_fan_in", "lognormal_fan_in"])
def test_patterns_are_over_blocks(pattern):
    block = random_connections(blueprint((4, 8), pattern=pattern))
    block.topology.check()
    assert block.topology.shape == (10, 6)
    assert block.topology.n_connections == pytest.approx(0.4 * 60, abs=5)


def test_blocks_of_one_weight_are_unstructured_connections():
    single = random_connections(blueprint((1, 1)))
    csr = Csr.random(replace(blueprint((1, 1)), section=None))
    assert isinstance(single, SingleBlock)
    np.testing.assert_array_equal(single.topology.indices, csr.topology.indices)
    np.testing.assert_array_equal(single.weight, csr.weight)
    assert type(single).product is Csr.product
    state = single.state()
    assert (state.kind, state.settings) == ("block", {"rows": 1, "columns": 1})
    assert isinstance(connections_from_state(state, single.weight), SingleBlock)


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_a_state_is_the_connections_again(unit):
    block = random_connections(blueprint(unit))
    state = block.state()
    Block.check_state("here", state)
    sizes = Block.stored_sizes(SHAPE, state.n_units, state.settings)
    assert {name: size.n_items for name, size in sizes.structure.items()} == {
        name: array.size for name, array in state.structure.items()
    }
    assert sizes.n_values == block.weight.size == state.n_units * block.values_per_unit
    damaged = block.weight.copy()
    damaged[is_beyond(block)] = 7
    again = connections_from_state(state, damaged)
    np.testing.assert_array_equal(again.weight, block.weight)
    assert (again.shape, again.unit) == (SHAPE, unit)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "settings none: expected rows, columns"),
        ({"rows": 16, "columns": 16, "more": 1}, "settings columns, more, rows: expected"),
        ({"rows": 16, "columns": 17}, "columns = 17: expected one of 1, 4, 8, 16, 32"),
        ({"rows": "a", "columns": 16}, "rows = a: expected one of 1, 4, 8, 16, 32"),
    ],
)
def test_wrong_settings_of_a_file_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Block.stored_sizes(SHAPE, 3, settings)


def test_blocks_out_of_range_are_refused():
    state = random_connections(blueprint((16, 16))).state()
    indices = state.structure["indices"].copy()
    indices[-1] = 3
    with pytest.raises(FileFormatError, match="here"):
        Block.check_state("here", replace(state, structure={**state.structure, "indices": indices}))


def test_scores_are_norms_or_largest_weights_and_can_be_given():
    block = random_connections(blueprint((8, 16)))
    values = block.weight.reshape(-1, 128)
    np.testing.assert_allclose(block.scores(), np.linalg.norm(values, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(block.scores("largest"), np.abs(values).max(axis=1))
    before = values.copy()
    values[1] = 0
    initial = np.full_like(block.weight, 0.5)
    for by in ("norm", "largest"):
        wanted = np.linspace(0, 1, values.shape[0], dtype=np.float32)
        block.rescale(wanted, by, lambda: initial)
        np.testing.assert_allclose(block.scores(by), wanted, rtol=1e-6)
        assert np.ptp(block.weight.reshape(-1, 128)[1]) == 0
    ratio = block.weight.reshape(-1, 128)[2] / before[2]
    np.testing.assert_allclose(ratio[before[2] != 0], ratio[0], rtol=1e-5)


def test_change_carries_whole_blocks():
    block = random_connections(blueprint((4, 4)))
    is_kept = np.arange(block.topology.n_connections) % 3 > 0
    free = block.topology.free_keys(np.ones_like(is_kept), np.array([0, 5]))
    change = block.topology.replaced(is_kept, free)
    carried = change.carry(block.weight, 16).reshape(-1, 16)
    kept = change.old_position >= 0
    np.testing.assert_array_equal(carried[kept], block.weight.reshape(-1, 16)[is_kept])
    assert not carried[~kept].any()
    grown = block.rewired(change.topology, carried.reshape(-1).copy())
    grown.draw_grown(change.old_position, "normal", np.uint64(5))
    np.testing.assert_array_equal(grown.weight.reshape(-1, 16)[kept], carried[kept])
    assert grown.weight.reshape(-1, 16)[~kept].any(axis=1).all()


def test_planned_bytes_are_those_of_the_arrays():
    for unit in UNITS:
        block = random_connections(blueprint(unit))
        planned, t = Block.n_bytes(*SHAPE, block.weight.size, unit), block.topology
        assert planned.weights == block.weight.nbytes
        assert sum(planned.structure.values()) == t.indptr.nbytes + t.indices.nbytes
        by_input = t.transposed
        assert planned.transposed == by_input.indptr.nbytes + by_input.outs.nbytes + by_input.position.nbytes


def test_a_block_larger_than_its_layer_is_refused():
    section = LayerSection(n=20, connections="block", block=(32, 4))
    assert Block.refuses_shape((32, 4), section) is None
    assert Block.refuses_shape((31, 4), section) == (
        "block = [32, 4]: larger than the layer of 4 x 31 neurons; expected at most [31, 4]"
    )
    assert grid((33, 4), (32, 4)) == (2, 1)


def test_no_pair_of_neurons_is_in_two_blocks():
    block = Block(SHAPE, (8, 8), Topology.from_keys((5, 6), np.arange(30)), np.arange(30 * 64, dtype=np.float32))
    assert block.pairs().n_connections == SHAPE[0] * SHAPE[1]
    assert block.fan_in().tolist() == [SHAPE[1]] * SHAPE[0]
