"""Dense recurrent networks of PyTorch: what is imported computes what the documentation of its modules says."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from torch_reference import states_of_torch

from hpc_sparse.errors import ConfigError, DataError, InputError
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.inference import load_model
from hpc_sparse.inputs.vocabulary import Vocabulary
from hpc_sparse.interop.exchange import import_model
from hpc_sparse.interop.torch_arrays import recurrent_layers
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.file import load_dataset

N_STEPS, N_IN, N_OUT, N_TOKENS = 5, 6, 3, 9
GATES = {"gru": 3, "tanh": 1}
GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "recurrent.md"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RNG = np.random.default_rng(11)
X = RNG.uniform(0, 10, (40, N_STEPS * N_IN)).astype(np.float32)


def layer_arrays(cell, n, n_in, prefix="rnn.", level=0, *, has_bias=True):
    rows = GATES[cell] * n
    shapes = {"weight_ih": (rows, n_in), "weight_hh": (rows, n)}
    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if has_bias else {}
    return {
        f"{prefix}{name}_l{level}": (RNG.normal(size=shape) / np.sqrt(n)).astype(np.float32)
        for name, shape in shapes.items()
    }


def linear_arrays(n_out, n_in, name="fc"):
    weight, bias = RNG.normal(size=(n_out, n_in)), RNG.normal(size=n_out)
    return {f"{name}.weight": weight.astype(np.float32), f"{name}.bias": bias.astype(np.float32)}


def of_level(arrays, level, prefix="rnn."):
    """The arrays of one layer as those of the first, biases of 0 where there are none."""
    own = {
        name.removeprefix(prefix).replace(f"_l{level}", "_l0"): each
        for name, each in arrays.items()
        if name.startswith(prefix) and name.endswith(f"_l{level}")
    }
    none = np.zeros(len(own["weight_hh_l0"]))
    return {"bias_ih_l0": none, "bias_hh_l0": none} | own


def linear(arrays, values, name="fc"):
    return values @ arrays[f"{name}.weight"].T.astype(np.float64) + arrays[f"{name}.bias"]


@pytest.fixture
def imported(tmp_path, write_small_data):
    """Import arrays with the layers of a configuration; the model."""

    def run(layers, arrays, *, standardize="false", density=1.0, **options):
        if not (tmp_path / "small.h5").exists():
            write_small_data(tmp_path / "small.h5", time_steps=N_STEPS)
        (tmp_path / "run.toml").write_text(
            f"""
            data = {{ path = "small.h5", standardize = {standardize} }}
            network = {{ density = {density}, activation = "relu", layers = [{layers}] }}
            training = {{ epochs = 1, batch_size = 8 }}
            optimizer.learning_rate = 0.1
            """
        )
        np.savez(tmp_path / "net.npz", **arrays)
        (tmp_path / "net.h5").unlink(missing_ok=True)
        import_model(tmp_path / "net.npz", tmp_path / "net.h5", tmp_path / "run.toml", **options)
        return load_model(tmp_path / "net.h5", threads=1)

    return run


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("cell", GATES)
def test_stacked_layers_compute_what_the_modules_of_torch_do(imported, cell, has_bias):
    arrays = layer_arrays(cell, 12, N_IN, has_bias=has_bias) | layer_arrays(cell, 8, 12, level=1, has_bias=has_bias)
    arrays |= linear_arrays(N_OUT, 8)
    begin = f'kind = "recurrent", cell = "{cell}"'
    model = imported(f'{{ {begin}, n = 12, output = "all" }}, {{ {begin}, n = 8 }}', arrays)
    values = X.astype(np.float64).reshape(-1, N_STEPS, N_IN)
    for level in (0, 1):
        values = states_of_torch(cell, of_level(arrays, level), values)
    np.testing.assert_allclose(model.weighted_sums(X), linear(arrays, values[:, -1]), rtol=1e-4, atol=1e-4)
    assert model.network.density == 1.0


def test_other_layers_are_matrices_in_the_order_of_their_names(imported, tmp_path):
    arrays = linear_arrays(10, N_IN, "a") | linear_arrays(7, 8, "b") | linear_arrays(N_OUT, 7, "c")
    arrays |= layer_arrays("tanh", 8, 10, "z1.") | layer_arrays("gru", 8, 8, "z2.")
    layers = (
        '{ n = 10 }, { kind = "recurrent", cell = "tanh", n = 8, output = "all" }, { kind = "recurrent", n = 8 }, '
        '{ kind = "tanh", n = 7 }'
    )
    model = imported(layers, arrays, standardize="true")
    dataset = load_dataset(ParallelContext.serial(threads=1), tmp_path / "small.h5")
    values = ((X - dataset.mean.astype(np.float64)) / dataset.deviation).reshape(-1, N_STEPS, N_IN)
    values = np.maximum(linear(arrays, values, "a"), 0)
    values = states_of_torch("tanh", of_level(arrays, 0, "z1."), values)
    values = states_of_torch("gru", of_level(arrays, 0, "z2."), values)[:, -1]
    expected = linear(arrays, np.tanh(linear(arrays, values, "b")), "c")
    np.testing.assert_allclose(model.weighted_sums(X), expected, rtol=1e-4, atol=1e-4)


def largest(matrix, density):
    n = round(density * matrix.size)
    return np.where(np.abs(matrix) >= np.sort(np.abs(matrix), axis=None)[-n], matrix, 0)


def largest_of_groups(matrix, n, m):
    groups = np.abs(matrix).reshape(len(matrix), -1, m)
    return np.where(groups >= np.sort(groups, axis=2)[:, :, -n, None], matrix.reshape(groups.shape), 0).reshape(
        matrix.shape
    )


def strongest_blocks(matrix, r, c, density):
    blocks = matrix.reshape(len(matrix) // r, r, -1, c)
    norms = np.linalg.norm(blocks, axis=(1, 3))
    kept = norms >= np.sort(norms, axis=None)[-round(density * norms.size)]
    return (blocks * kept[:, None, :, None]).reshape(matrix.shape)


PRUNED = {
    "csr": ("", largest),
    "block": ('connections = "block", block = [4, 1], ', lambda own, density: strongest_blocks(own, 4, 1, density)),
    "n_of_m": ('connections = "n_of_m", pattern = "1:3", ', lambda own, _: largest_of_groups(own, 1, 3)),
}


@pytest.mark.parametrize("kind", PRUNED)
@pytest.mark.parametrize("cell", GATES)
def test_the_strongest_of_each_map_stay(imported, cell, kind):
    keys, prune = PRUNED[kind]
    arrays = layer_arrays(cell, 12, N_IN, "") | linear_arrays(N_OUT, 12)
    own_density = ", recurrent_density = 0.2" if kind != "n_of_m" else ""
    layer = f'{{ kind = "recurrent", {keys}cell = "{cell}", n = 12{own_density} }}'
    model = imported(layer, arrays, density=0.4)
    (found,) = recurrent_layers(model)
    np.testing.assert_array_equal(found["weight_ih_l0"], prune(arrays["weight_ih_l0"], 0.4))
    np.testing.assert_array_equal(found["weight_hh_l0"], prune(arrays["weight_hh_l0"], 0.2))
    for name in ("bias_ih_l0", "bias_hh_l0"):
        np.testing.assert_array_equal(found[name], arrays[name])
    states = states_of_torch(cell, found, X.astype(np.float64).reshape(-1, N_STEPS, N_IN))
    of_outputs = {"fc.weight": largest(arrays["fc.weight"], 0.4), "fc.bias": arrays["fc.bias"]}
    np.testing.assert_allclose(model.weighted_sums(X), linear(of_outputs, states[:, -1]), rtol=1e-4, atol=1e-4)
    assert {each.kind for each in model.network.layers[0].connections().values()} == {kind}


def test_what_is_exported_to_torch_comes_back_with_the_same_bits(imported):
    layers = '{ kind = "recurrent", n = 12, output = "all" }, { kind = "recurrent", n = 8 }'
    arrays = layer_arrays("gru", 12, N_IN) | layer_arrays("gru", 8, 12, level=1) | linear_arrays(N_OUT, 8)
    before = imported(layers, arrays, density=0.3)
    exported = {
        f"net.{name.replace('_l0', f'_l{level}')}": own
        for level, state in enumerate(recurrent_layers(before))
        for name, own in state.items()
    }
    last = before.network.layers[-1]
    exported |= {"head.weight": last.incoming.to_csr().toarray(), "head.bias": last.bias}
    sums = before.weighted_sums(X)
    after = imported(layers, exported, density=0.3)
    np.testing.assert_array_equal(after.weighted_sums(X), sums)
    for own, other in zip(recurrent_layers(after), recurrent_layers(before), strict=True):
        for name in own:
            np.testing.assert_array_equal(own[name], other[name])


def states_of_keras(kernel, recurrent, biases, x):
    """The last state by the equations of its ``GRU`` with ``reset_after``: gates update, reset, candidate."""
    h = np.zeros((len(x), len(recurrent)))
    for own in x.transpose(1, 0, 2):
        x_z, x_r, x_h = np.split(own @ kernel + biases[0], 3, axis=1)
        h_z, h_r, h_h = np.split(h @ recurrent + biases[1], 3, axis=1)
        z, r = (1 / (1 + np.exp(-total)) for total in (x_z + h_z, x_r + h_r))
        h = z * h + (1 - z) * np.tanh(x_h + r * h_h)
    return h


def test_the_lines_of_the_guide_make_arrays_of_keras_those_of_torch(imported):
    n, shapes = 8, ((N_IN, 24), (8, 24), (2, 24))
    kernel, recurrent, biases = (RNG.normal(size=shape) / 3 for shape in shapes)
    (block,) = (own for own in PYTHON.findall(GUIDE.read_text(encoding="utf-8")) if "get_weights" in own)
    names = {"np": np, "n": n, "layer": SimpleNamespace(get_weights=lambda: (kernel, recurrent, biases))}
    exec(block, names)
    arrays = names["arrays"] | linear_arrays(N_OUT, n)
    states = states_of_keras(kernel, recurrent, biases, X.astype(np.float64).reshape(-1, N_STEPS, N_IN))
    found = imported('{ kind = "recurrent", n = 8 }', arrays).weighted_sums(X)
    np.testing.assert_allclose(found, linear(arrays, states), rtol=1e-4, atol=1e-4)


@pytest.fixture
def tokens(tmp_path):
    """A data set of tokens in the place of that of numbers; tokens to predict."""
    own = RNG.integers(0, N_TOKENS, (60, N_STEPS))
    names = np.array(list("abcdefghi"))
    np.savez(tmp_path / "in.npz", x=own, y=np.arange(60) % N_OUT, vocabulary=names)
    import_npz(tmp_path / "in.npz", tmp_path / "small.h5")
    return own


@pytest.mark.parametrize("has_embedding", [True, False])
def test_tokens_are_columns_of_the_map_or_rows_of_an_embedding(imported, tokens, has_embedding):
    embedding = RNG.normal(size=(N_TOKENS, 4)).astype(np.float32) if has_embedding else np.eye(N_TOKENS)
    arrays = layer_arrays("gru", 8, embedding.shape[1]) | linear_arrays(N_OUT, 8, "a")
    arrays |= {"emb.weight": embedding} if has_embedding else {}
    model = imported('{ kind = "recurrent", n = 8 }', arrays, standardize="true")
    states = states_of_torch("gru", of_level(arrays, 0), embedding[tokens].astype(np.float64))
    np.testing.assert_allclose(model.weighted_sums(tokens), linear(arrays, states[:, -1], "a"), rtol=1e-4, atol=1e-4)
    (vocabulary,) = (part for part in model.front_end.parts if isinstance(part, Vocabulary))
    assert vocabulary.entries == tuple("abcdefghi")  # as the run that goes on from there has it


@pytest.mark.parametrize("shape", [(), (N_IN,), (N_STEPS * N_IN,)])
def test_features_may_have_been_scaled_in_the_same_way_at_each_step(imported, shape):
    mean = np.resize(RNG.uniform(0, 5, N_IN), shape)
    arrays = layer_arrays("gru", 8, N_IN) | linear_arrays(N_OUT, 8) | {"mean": mean, "deviation": np.array(3.0)}
    model = imported('{ kind = "recurrent", n = 8 }', arrays)
    values = ((X - np.resize(mean, N_STEPS * N_IN)) / 3.0).reshape(-1, N_STEPS, N_IN)
    expected = linear(arrays, states_of_torch("gru", of_level(arrays, 0), values)[:, -1])
    np.testing.assert_allclose(model.weighted_sums(X), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(DataError, match=r"net\.npz: mean and deviation differ .* by other amounts at each step"):
        imported('{ kind = "recurrent", n = 8 }', arrays, standardize="true")


GRU = '{ kind = "recurrent", n = 8 }'


@pytest.mark.parametrize(
    ("change", "layers", "message"),
    [
        ({"rnn.weight_ih_l0_reverse": np.zeros((24, 6))}, GRU, "weight_ih_l0_reverse: a second direction"),
        ({"rnn.weight_hr_l0": np.zeros((4, 8))}, GRU, "weight_hr_l0: a projection of the state"),
        ({"rnn.weight_ih_l1": np.zeros((24, 8))}, GRU, r"2 recurrent layers \(rnn\.l0, rnn\.l1\): expected 1"),
        ({"rnn.weight_hh_l0": None}, GRU, r"recurrent layer rnn\.l0: weight_hh is missing"),
        ({"rnn.weight_hh_l0": np.zeros((32, 8))}, GRU, r"weight_hh \[32, 8\] is that of nn\.LSTM: expected nn\.GRU"),
        (
            {},
            '{ kind = "recurrent", cell = "tanh", n = 8 }',
            r'is that of nn\.GRU: expected nn\.RNN, for network\.layers\.0\.cell = "tanh"',
        ),
        ({}, '{ kind = "recurrent", n = 16 }', r"weight_ih \[24, 6\]: expected \[48, 6\], for network\.layers\.0"),
        ({"rnn.weight_hh_l0": np.zeros(3)}, GRU, r"weight_hh \[3\]: expected \[24, 8\]"),
        ({"rnn.bias_hh_l0": np.zeros(8)}, GRU, r"bias_hh \[8\]: expected \[24\]"),
        ({"rnn.bias_hh_l0": np.full(24, np.nan)}, GRU, r"bias_hh\[0\] = nan: must be finite"),
        ({"rnn.bias_hh_l0": np.full(24, 1e39)}, GRU, r"bias_hh\[0\] = inf: must be finite"),
        ({"rnn.weight_ih_l0": np.zeros((24, 6), complex)}, GRU, "dtype complex128: expected real numbers"),
        ({"fc.weight": None, "fc.bias": None}, GRU, r"beside the recurrent layers, a matrix \[3, 8\]"),
        ({"fc.bias": np.zeros(4)}, GRU, r"fc\.bias \[4\]: expected \[3\]"),
        ({"emb.weight": np.zeros((9, 6))}, GRU, "expected a matrix and a bias for each layer, and nothing else"),
        ({"mean": np.zeros(7)}, GRU, r"mean \[7\]: expected \[30\], one per feature, or \[6\], those of a step"),
        ({}, "{ n = 8 }", 'has recurrent layers: expected some in .*run.toml: kind = "recurrent"'),
        (
            {"rnn.weight_ih_l0": None, "rnn.weight_hh_l0": None, "rnn.bias_ih_l0": None, "rnn.bias_hh_l0": None},
            GRU,
            "expected recurrent layers by the names of PyTorch",
        ),
    ],
)
def test_what_is_another_network_is_refused(imported, tmp_path, change, layers, message):
    arrays = layer_arrays("gru", 8, N_IN) | linear_arrays(N_OUT, 8) | change
    with pytest.raises(InputError, match=message) as caught:
        imported(layers, {name: own for name, own in arrays.items() if own is not None})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "net.h5").exists()


def test_the_layout_of_keras_is_refused(imported):
    arrays = layer_arrays("gru", 8, N_IN) | linear_arrays(N_OUT, 8)
    with pytest.raises(DataError, match="those of Keras have other gates"):
        imported(GRU, arrays, layout="keras")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emb.weight": np.zeros((N_TOKENS, 5))}, r"weight_ih \[24, 4\]: expected 5 inputs, as wide as the embedding"),
        ({"emb.weight": np.zeros((N_TOKENS, 4)), "b.weight": np.zeros((N_TOKENS, 4))}, "at most one .9, n. without"),
        ({"emb.weight": np.full((N_TOKENS, 4), 1e38), "rnn.weight_ih_l0": np.full((24, 4), 9.0)}, "must be finite"),
        ({"mean": np.zeros(5)}, "mean or deviation: tokens have none"),
        ({}, r"weight_ih \[24, 4\]: expected \[24, 9\]"),
    ],
)
@pytest.mark.usefixtures("tokens")
def test_wrong_embeddings_are_refused(imported, change, message):
    arrays = layer_arrays("gru", 8, 4) | linear_arrays(N_OUT, 8) | change
    with pytest.raises(DataError, match=message):
        imported(GRU, arrays)


def test_layers_that_are_more_than_maps_are_refused(imported):
    layers = '{ kind = "convolution", n = 4, image = [5, 6], pool = "average" }'
    with pytest.raises(ConfigError, match=r'layers\.0\.kind = "convolution": dense weights of such layers are not'):
        imported(layers, linear_arrays(N_OUT, 8))
