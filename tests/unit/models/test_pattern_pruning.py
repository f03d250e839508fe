"""Pruning to a pattern: the largest of each group stay, the checkpoint begins anew, what cannot be is refused."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.config import parse_config
from hpc_sparse.errors import ConfigError, InputError
from hpc_sparse.inference import load_model
from hpc_sparse.interop.dense_weights import DenseMap, DenseWeights
from hpc_sparse.interop.magnitude_pruning import prune_to_density
from hpc_sparse.interop.semi_structured import from_semi_structured, to_semi_structured
from hpc_sparse.models.pattern_pruning import PatternRequest, prune_to_pattern
from hpc_sparse.network.connections.n_of_m import NOfM
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.training.replica_states import replica_from_states

CTX = ParallelContext.serial(threads=1)
HIDDEN = ("network.hidden=[24, 32, 20]", "network.density=1.0")


def pruned(checkpoint, pattern, search=None):
    output = checkpoint.with_name(f"{checkpoint.stem}-{pattern.replace(':', '-')}-{search}.h5")
    result = prune_to_pattern(CTX, PatternRequest(checkpoint, pattern, output, search=search))
    state = read_checkpoint(CTX, output)
    config = parse_config(state.config_text, "test")
    return result, state, replica_from_states(config, state.layers).network, config


def largest_of_groups(weight, n, m):
    """The dense matrix of what groups keep, by NumPy; M divides the inputs."""
    groups = weight.reshape(len(weight), -1, m)
    rank = np.argsort(np.argsort(-np.abs(groups), axis=2, kind="stable"), axis=2)
    return np.where(rank < n, groups, 0).reshape(weight.shape)


def test_the_largest_of_each_group_stay_and_the_checkpoint_begins_anew(write_network):
    checkpoint = write_network(*HIDDEN)
    result, state, network, config = pruned(checkpoint, "2:6")
    before = load_model(checkpoint, threads=1).network
    assert [layer.incoming.kind for layer in network.layers] == ["n_of_m"] * 3 + ["dense"]
    for layer, old in zip(network.layers[:1], before.layers, strict=False):  # 30 inputs: whole groups
        expected = largest_of_groups(old.incoming.to_csr().toarray(), 2, 6)
        np.testing.assert_array_equal(layer.incoming.to_csr().toarray(), expected)
        assert result["kept"][0]["share_of_weights"] == pytest.approx(np.abs(expected).sum() / np.abs(old.weight).sum())
    for layer, old in zip(network.layers, before.layers, strict=True):
        np.testing.assert_array_equal(layer.bias, old.bias)
    np.testing.assert_array_equal(network.layers[-1].weight, before.layers[-1].weight)
    assert (state.epoch, state.step, state.metrics, state.history_best) == (0, 0, {}, None)
    assert not any(array.any() for layer in state.layers for array in layer.states.values())
    assert (config.network.connections, config.network.pattern, config.evolution.strategy) == (
        "n_of_m",
        "2:6",
        "static",
    )


@pytest.mark.parametrize("search", ["channel_swap", "stripes"])
def test_a_permuted_network_keeps_more_and_is_the_same_function_but_for_the_pruning(write_network, search):
    checkpoint, values = write_network(*HIDDEN), np.random.default_rng(0).uniform(0, 9, (50, 30))
    plain, permuted = pruned(checkpoint, "2:4"), pruned(checkpoint, "2:4", search)
    shares = [[layer["share_of_weights"] for layer in each[0]["kept"]] for each in (plain, permuted)]
    assert shares[1][0] == pytest.approx(shares[0][0])  # rows of the first layer are in another order
    assert shares[1][1] > shares[0][1]
    assert shares[1][2] > shares[0][2]
    _, _, whole, _ = pruned(checkpoint, "4:4", search)  # keeps all: exchanges change nothing
    same = load_model(checkpoint.with_name(f"net-4-4-{search}.h5"), threads=1).weighted_sums(values)
    np.testing.assert_allclose(same, load_model(checkpoint, threads=1).weighted_sums(values), rtol=1e-4, atol=1e-4)
    assert whole.n_connections == load_model(checkpoint, threads=1).network.n_connections
    rows = permuted[2].layers[0].incoming.to_csr().toarray()
    found = np.sort([bytes(row.tobytes()) for row in rows])
    expected = np.sort([bytes(row.tobytes()) for row in plain[2].layers[0].incoming.to_csr().toarray()])
    assert (found == expected).all()


def test_groups_of_sparse_rows_are_filled_up_with_connections_of_weight_0(write_network):
    checkpoint = write_network("network.epsilon=4")
    _, _, network, _ = pruned(checkpoint, "2:4")
    old = load_model(checkpoint, threads=1).network
    for layer, before in zip(network.layers[:-1], old.layers, strict=False):
        counts = np.diff(layer.topology.indptr)
        assert (counts == counts[0]).all()
        dense, source = (each.incoming.to_csr().toarray() for each in (layer, before))
        n_whole = source.shape[1] // 4 * 4
        np.testing.assert_array_equal(dense[:, :n_whole], largest_of_groups(source[:, :n_whole], 2, 4))


def test_a_transposable_pattern_keeps_the_most_and_is_one_of_the_transposed_weights(write_network):
    checkpoint = write_network("network.hidden=[24, 36, 20]", "network.density=1.0")
    output = checkpoint.with_name("both.h5")
    result = prune_to_pattern(CTX, PatternRequest(checkpoint, "2:6", output, is_transposable=True))
    state = read_checkpoint(CTX, output)
    config = parse_config(state.config_text, "test")
    assert (config.network.transposable, config.evolution.strategy, result["transposable"]) == (True, "static", "yes")
    network, before = replica_from_states(config, state.layers).network, load_model(checkpoint, threads=1).network
    plain = prune_to_pattern(CTX, PatternRequest(checkpoint, "2:6", checkpoint.with_name("rows.h5")))
    for number, (layer, old) in enumerate(zip(network.layers[:-1], before.layers, strict=False)):
        assert layer.incoming.index.pattern.is_transposable
        kept, source = layer.incoming.to_csr().toarray(), old.incoming.to_csr().toarray()
        np.testing.assert_array_equal(kept, np.where(kept != 0, source, 0))
        for first in range(0, len(kept), 6):
            assert ((kept[first : first + 6] != 0).sum(axis=0) <= 2).all()
        assert ((kept.reshape(len(kept), -1, 6) != 0).sum(axis=2) == 2).all()
        share = result["kept"][number]["share_of_weights"]
        assert 0.85 < share / plain["kept"][number]["share_of_weights"] < 1
    wrong = PatternRequest(checkpoint, "2:6", checkpoint.with_name("none.h5"), None, "stripes", is_transposable=True)
    with pytest.raises(InputError, match="--permute stripes: not with --transposable"):
        prune_to_pattern(CTX, wrong)


def test_blocks_become_groups(write_network):
    checkpoint = write_network("network.connections=block", "network.block=[4,8]", "network.density=0.7")
    _, _, network, config = pruned(checkpoint, "2:4")
    assert config.network.block is None
    assert network.layers[0].incoming.kind == NOfM.kind


RECURRENT_LAYERS = (
    'network.layers=[{kind="recurrent", n=16, output="all", recurrent_density=0.8}, '
    '{kind="recurrent", cell="tanh", n=12}, {kind="tanh", n=8}]'
)


def test_both_maps_of_recurrent_layers_get_the_pattern(write_network):
    checkpoint = write_network("network.density=1.0", RECURRENT_LAYERS, places=5)
    result, _, network, config = pruned(checkpoint, "1:2")
    before = load_model(checkpoint, threads=1).network
    for layer, old in zip(network.layers[:-1], before.layers, strict=False):
        assert layer.kind == old.kind
        for (name, own), whole in zip(layer.connections().items(), old.connections().values(), strict=True):
            assert own.kind == NOfM.kind
            expected = largest_of_groups(whole.to_csr().toarray(), 1, 2)
            np.testing.assert_array_equal(own.to_csr().toarray(), expected, err_msg=name)
        for name, parameter in layer.parameters().items():
            if "bias" in name:
                np.testing.assert_array_equal(parameter.values, old.parameters()[name].values)
    assert [(each["layer"], each["map"]) for each in result["kept"]] == [
        *((0, "input"), (0, "recurrent"), (1, "input"), (1, "recurrent")),
        (2, "input"),
    ]
    assert all(0.5 < each["share_of_weights"] < 1 for each in result["kept"])
    assert config.network.layer(0).of_recurrent.pattern == "1:2"
    request = PatternRequest(checkpoint, "1:2", checkpoint.with_name("none.h5"), search="stripes")
    with pytest.raises(InputError, match='--permute stripes: not with layers of the kind "recurrent"'):
        prune_to_pattern(CTX, request)


def test_convolutions_have_no_groups(write_network):
    layers = 'network.layers=[{kind="convolution", n=4, image=[5, 6], pool="average"}]'
    checkpoint = write_network("network.density=1.0", "network.dropout=0.0", layers, places=30)
    request = PatternRequest(checkpoint, "1:2", checkpoint.with_name("none.h5"))
    with pytest.raises(InputError, match='layer 0 is of the kind "convolution": expected one of sparse, tanh, recurr'):
        prune_to_pattern(CTX, request)


@pytest.mark.parametrize(
    ("pattern", "search", "message"),
    [
        ("4:2", None, "pattern 4:2: must be N:M with 1 <= N <= M"),
        ("2:257", None, "pattern 2:257: must be N:M with M <= 256"),
        ("2:25", None, "pattern 2:25 of layer 1: groups of 25 inputs, but the layer has 24"),
        ("2:8", "stripes", "--permute stripes: groups of 8 inputs: expected at most 6"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(write_network, pattern, search, message):
    checkpoint = write_network(*HIDDEN)
    request = PatternRequest(checkpoint, pattern, checkpoint.with_name("out.h5"), search=search)
    with pytest.raises(InputError, match=message) as caught:
        prune_to_pattern(CTX, request)
    assert caught.value.exit_code == 2
    assert not request.output.exists()


def test_an_imported_dense_network_gets_the_pattern_of_its_configuration(make_config):
    rng, widths = np.random.default_rng(0), [30, 24, 17, 3]
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in zip(widths[1:], widths[:-1], strict=True)]
    layers = [{INPUT: DenseMap(weight, np.zeros(len(weight), np.float32))} for weight in arrays]
    config = make_config("network.hidden=[24, 17]", "network.connections=n_of_m", "network.pattern=2:6")
    network = prune_to_density(DenseWeights(layers, None, None), config)
    for layer, weight in zip(network.layers[:-1], arrays, strict=False):
        assert layer.incoming.kind == NOfM.kind
        np.testing.assert_array_equal(layer.incoming.to_csr().toarray(), largest_of_groups(weight, 2, 6))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("network.pattern=2:4",), 'pattern = "2:4" needs connections = "n_of_m"'),
        (("network.transposable=true",), 'transposable = true needs connections = "n_of_m"'),
        (
            ("network.connections=n_of_m", "network.pattern=2:4", "network.transposable=true"),
            'evolution.strategy = "set": not with transposable = true',
        ),
        (
            (
                "network.connections=n_of_m",
                "network.pattern=3:7",
                "network.transposable=true",
                "evolution.strategy=static",
            ),
            'pattern = "3:7": the layer has 24 inputs, and of the last 3 of them 3 x 3 / 7 connections are no whole',
        ),
        (
            (
                *("network.connections=n_of_m", "network.pattern=2:4", "network.transposable=true"),
                *("evolution.strategy=static", "parallel.replica_topology=independent"),
            ),
            'parallel.replica_topology = "independent": not with transposable = true',
        ),
        (("network.connections=n_of_m",), 'connections = "n_of_m" needs pattern, such as "2:4"'),
        (
            ("network.connections=n_of_m", "network.pattern=4:2"),
            'network.pattern = "4:2": must be N:M with 1 <= N <= M',
        ),
        (("network.connections=n_of_m", "network.pattern=1:300"), "must be N:M with M <= 256"),
        (("network.connections=n_of_m", "network.pattern=2:200"), 'pattern = "2:200": groups of 200 inputs, but the'),
        (
            ("network.connections=n_of_m", "network.pattern=2:4", "evolution.strategy=cht"),
            "use static, set, deep_r, rigl",
        ),
        (
            ("network.connections=none",),
            "network.connections = 'none': must be 'csr', 'dense', 'block', 'n_of_m' or 'diagonal'",
        ),
    ],
)
def test_a_wrong_configuration_is_one_message(make_config, overrides, message):
    with pytest.raises(ConfigError) as caught:
        make_config(*overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def reference_layout(dense):
    """Values and words of the semi-structured layout, input by input, as the instruction set describes them."""
    values, words = [], []
    for row in dense:
        kept, numbers = [], []
        for begin in range(0, row.size, 4):
            places = [place for place in range(4) if row[begin + place] != 0]
            kept += [row[begin + place] for place in places]
            numbers.append(places[0] | places[1] << 2)
        values.append(kept)
        words.append(
            [sum(number << 4 * i for i, number in enumerate(numbers[w : w + 4])) for w in range(0, len(numbers), 4)]
        )
    return np.array(values), np.array(words)


def test_the_semi_structured_layout_is_that_of_a_reference_and_comes_back(write_network):
    _, _, network, _ = pruned(write_network(*HIDDEN), "2:4")
    connections = network.layers[2].incoming  # 32 inputs
    found = to_semi_structured(connections)
    values, words = reference_layout(connections.to_csr().toarray())
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.metadata, words)
    back = from_semi_structured(found)
    np.testing.assert_array_equal(back.to_csr().toarray(), connections.to_csr().toarray())
    for other, message in ((network.layers[0], "30 inputs: expected a multiple of 16"), (network.layers[3], '"dense"')):
        with pytest.raises(InputError, match=message):
            to_semi_structured(other.incoming)
    with pytest.raises(InputError, match="pattern 2:6: expected pattern 2:4"):
        to_semi_structured(pruned(write_network(*HIDDEN, name="other.h5"), "2:6")[2].layers[0].incoming)


def test_layers_have_the_pattern_of_the_network_unless_they_say_otherwise(make_config):
    layers = '[{n = 24}, {n = 17, pattern = "1:4"}, {n = 20, connections = "dense"}]'
    config = make_config("network.connections=n_of_m", "network.pattern=2:4", f"network.layers={layers}")
    found = [(config.network.layer(number).connections, config.network.layer(number).pattern) for number in range(3)]
    assert found == [("n_of_m", "2:4"), ("n_of_m", "1:4"), ("dense", None)]
    again = parse_config(config.to_toml(), "test")
    assert again == config
    tiny = config.network.with_small_keys()
    assert [tiny.layer(number).pattern for number in range(3)] == ["1:2", "1:2", None]
