"""Dense networks of other programs: read from their arrays, pruned to the largest weights."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse

import hpc_sparse
from hpc_sparse.errors import DataError, MachineError
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.interop.dense_weights import dense_weights, read_arrays
from hpc_sparse.interop.exchange import import_model
from hpc_sparse.interop.magnitude_pruning import prune_to_density, scaled_inputs
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.dataset.file import load_dataset

CTX = ParallelContext.serial(threads=1)
WIDTHS = [30, 24, 18, 3]
SLOPES = (-0.6, 0.6, 1.0)
PAIRS = list(pairwise(WIDTHS))
X = np.random.default_rng(2).uniform(0, 10, (40, 30)).astype(np.float32)


def dense_network():
    """Weight (n_out, n_in) and bias of each layer."""
    rng = np.random.default_rng(5)
    return [
        (rng.standard_normal((n_out, n_in)).astype(np.float32), rng.standard_normal(n_out).astype(np.float32))
        for n_in, n_out in PAIRS
    ]


def torch_arrays(network):
    """As in the ``state_dict`` of a ``torch.nn.Sequential`` with activations between: 10 sorts behind 2."""
    names = {}
    for number, (weight, bias) in zip((0, 2, 10), network, strict=True):
        names |= {f"{number}.bias": bias, f"{number}.weight": weight}
    return names


def keras_arrays(network):
    """As ``numpy.savez(file, *model.get_weights())`` names them."""
    flat = [array for weight, bias in network for array in (weight.T, bias)]
    return {f"arr_{number}": array for number, array in enumerate(flat)}


def outputs(network, values):
    for (weight, bias), slope in zip(network, SLOPES, strict=True):
        sums = values @ weight.T.astype(np.float64) + bias
        values = np.where(sums >= 0, sums, slope * sums)
    return values


@pytest.mark.parametrize(("name", "arrays"), [("torch", torch_arrays), ("keras", keras_arrays)])
@pytest.mark.parametrize("said", [True, False])
def test_layers_are_found_whatever_program_wrote_them(tmp_path, name, arrays, said):
    network = dense_network()
    found = dense_weights(tmp_path / "f", arrays(network), WIDTHS, name if said else "auto")
    for layer, (weight, bias) in zip(found.layers, network, strict=True):
        np.testing.assert_array_equal(layer["input"].weight, weight)
        np.testing.assert_array_equal(layer["input"].bias, bias)


def test_the_largest_weights_of_each_layer_stay(tmp_path, make_config):
    network, config = dense_network(), make_config("network.density=0.2")
    sparse = prune_to_density(dense_weights(tmp_path / "f", torch_arrays(network), WIDTHS, "torch"), config)
    for layer, (weight, bias), slope in zip(sparse.layers, network, SLOPES, strict=True):
        layer.topology.check()
        n_kept = round(0.2 * weight.size)
        expected = np.where(np.abs(weight) >= np.sort(np.abs(weight), axis=None)[-n_kept], weight, 0)
        found = np.zeros_like(weight)
        found.reshape(-1)[layer.topology.keys()] = layer.weight
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(layer.bias, bias)
        assert layer.slope == pytest.approx(slope)


def test_the_strongest_blocks_of_each_hidden_layer_stay(tmp_path, make_config):
    network, (r, c) = dense_network(), (4, 8)
    config = make_config("network.density=0.4", "network.connections=block", f"network.block=[{r},{c}]")
    sparse = prune_to_density(dense_weights(tmp_path / "f", torch_arrays(network), WIDTHS, "torch"), config)
    for layer, (weight, _) in zip(sparse.layers[:-1], network[:-1], strict=True):
        layer.topology.check()
        found = layer.incoming.to_csr().toarray()
        np.testing.assert_array_equal(found, np.where(found != 0, weight, 0))
        padded = np.pad(weight, [(0, -n % side) for n, side in zip(weight.shape, (r, c), strict=True)])
        norms = np.linalg.norm(padded.reshape(padded.shape[0] // r, r, -1, c), axis=(1, 3))
        kept = np.zeros(norms.shape, bool)
        kept.reshape(-1)[layer.topology.keys()] = True
        assert kept.sum() == round(0.4 * norms.size)
        assert norms[kept].min() > norms[~kept].max()
    assert sparse.layers[-1].incoming.unit == (1, 1)


@pytest.mark.parametrize("new", ["standardised", "as they are"])
@pytest.mark.parametrize("own", [("mean", "deviation"), ("deviation",), ("mean",)])
def test_features_may_have_been_scaled_in_another_way(tmp_path, own, new):
    rng, network = np.random.default_rng(7), dense_network()
    own_scaling = {"mean": rng.uniform(0, 5, 30), "deviation": np.array(255.0)}
    arrays = torch_arrays(network) | {name: own_scaling[name] for name in own}
    expected = outputs(network, (X - arrays.get("mean", 0.0)) / arrays.get("deviation", 1.0))
    mean, deviation = rng.uniform(0, 9, 30).astype(np.float32), rng.uniform(1, 3, 30).astype(np.float32)
    weights = dense_weights(tmp_path / "f", arrays, WIDTHS, "auto")
    if new == "standardised":
        scaled, values = scaled_inputs(weights, Standardise(mean, deviation)), (X - mean.astype(np.float64)) / deviation
    else:
        scaled, values = scaled_inputs(weights, None), X.astype(np.float64)
    found = outputs([(layer["input"].weight, layer["input"].bias) for layer in scaled.layers], values)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("standardize", ["true", "false"])
def test_a_dense_network_becomes_a_checkpoint_that_computes_the_same_if_all_is_kept(
    tmp_path, make_config, write_small_data, standardize
):
    network, config = dense_network(), make_config("network.density=1.0", f"data.standardize={standardize}")
    write_small_data(tmp_path / "small.h5")
    (tmp_path / "run.toml").write_text(config.to_toml())
    np.savez(tmp_path / "dense.npz", **torch_arrays(network))
    result = import_model(tmp_path / "dense.npz", tmp_path / "net.h5", tmp_path / "run.toml")
    dataset, values = load_dataset(CTX, tmp_path / "small.h5"), X.astype(np.float64)
    if standardize == "true":
        values = (values - dataset.mean) / dataset.deviation
    found = hpc_sparse.load_model(tmp_path / "net.h5").weighted_sums(X)
    np.testing.assert_allclose(found, outputs(network, values), rtol=1e-4, atol=1e-4)
    assert (result["widths"], result["density"], result["epoch"]) == ("30-24-18-3", 1.0, 0)


def test_weights_of_terms_are_those_that_a_run_on_the_data_begins_with(tmp_path, make_config):
    counts = scipy.sparse.csr_array(np.random.default_rng(3).integers(0, 4, (40, 30)))
    parts = {name: getattr(counts, name) for name in ("data", "indices", "indptr", "shape")}
    np.savez(tmp_path / "counts.npz", **parts, y=np.arange(40) % 3)
    import_npz(tmp_path / "counts.npz", tmp_path / "small.h5", tf_idf=True)
    (tmp_path / "run.toml").write_text(make_config("network.density=1.0").to_toml())
    np.savez(tmp_path / "dense.npz", **torch_arrays(dense_network()))
    import_model(tmp_path / "dense.npz", tmp_path / "net.h5", tmp_path / "run.toml")
    found = read_checkpoint(CTX, tmp_path / "net.h5").front_end
    dataset = load_dataset(CTX, tmp_path / "small.h5")
    for name, values in dataset.term_weights.items():
        np.testing.assert_array_equal(found[f"term_weights/{name}"], values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"2.weight": None, "2.bias": None}, "expected the layers of a network 30-24-18-3"),
        ({"2.bias": None}, "expected a matrix and a bias for each layer"),
        ({"2.bias": np.zeros(5)}, r"2\.bias \[5\]: expected \[18\]"),
        ({"extra": np.zeros((2, 2, 2))}, r"extra \[2, 2, 2\].*: expected a matrix and a bias"),
        ({"0.weight": np.full((24, 30), np.inf)}, "must be finite"),
        ({"0.weight": np.zeros((24, 30), complex)}, "dtype complex128: expected real numbers"),
        ({"mean": np.zeros(7)}, r"mean \[7\]: expected \[30\]"),
        ({"deviation": np.zeros(30)}, "deviation: must be > 0"),
    ],
)
def test_arrays_of_another_network_are_refused(tmp_path, change, message):
    arrays = {name: array for name, array in (torch_arrays(dense_network()) | change).items() if array is not None}
    with pytest.raises(DataError, match=message):
        dense_weights(tmp_path / "f", arrays, WIDTHS, "auto")


def test_square_matrices_do_not_tell_their_layout(tmp_path):
    arrays = {"w": np.arange(9.0).reshape(3, 3), "b": np.zeros(3)}
    with pytest.raises(DataError, match="all matrices are square: say --layout"):
        dense_weights(tmp_path / "f", arrays, [3, 3], "auto")
    found = dense_weights(tmp_path / "f", arrays, [3, 3], "keras")
    np.testing.assert_array_equal(found.layers[0]["input"].weight, arrays["w"].T)


def test_safetensors_are_read_and_damaged_ones_refused(tmp_path):
    from safetensors.numpy import save_file

    arrays = torch_arrays(dense_network())
    save_file(arrays, tmp_path / "net.safetensors")
    found = read_arrays(tmp_path / "net.safetensors")
    assert set(found) == set(arrays)
    np.testing.assert_array_equal(found["10.weight"], arrays["10.weight"])
    content = (tmp_path / "net.safetensors").read_bytes()
    for damaged in (content[:-1], content[:50], b"", b"\xff" * 100):
        (tmp_path / "bad.safetensors").write_bytes(damaged)
        with pytest.raises(DataError, match=r"bad\.safetensors: cannot be read as safetensors"):
            read_arrays(tmp_path / "bad.safetensors")


def test_safetensors_without_their_library_are_refused_with_its_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "net.safetensors").write_bytes(b"")
    with pytest.raises(MachineError, match=r"needs the package safetensors: pip install 'hpc-sparse\[interop\]'"):
        read_arrays(tmp_path / "net.safetensors")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.npz: no such file"):
        read_arrays(tmp_path / "nothing.npz")
    with pytest.raises(DataError, match="is not a file"):
        read_arrays(tmp_path)
