"""Archives of networks: what others find in them, and that nothing is lost on the way back."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse

import hpc_sparse
from hpc_sparse.errors import DataError, InputError, MachineError, NewerFormatError, OutputError
from hpc_sparse.interop import to_torch
from hpc_sparse.interop.exchange import export_model, import_model
from hpc_sparse.models.pruning import PruningRequest, prune_checkpoint
from hpc_sparse.parallel.context import ParallelContext

CTX = ParallelContext.serial(threads=1)
X = np.random.default_rng(4).uniform(0, 10, (50, 30)).astype(np.float32)


@pytest.fixture(params=["whole", "pruned", "not standardised", "half of it acts"])
def checkpoint(request, write_network):
    if request.param == "not standardised":
        return write_network(has_statistics=False)
    if request.param == "half of it acts":
        return write_network("evolution.top_kast.acting_share=0.5", "evolution.strategy=top_kast")
    path = write_network()
    if request.param == "whole":
        return path
    pruning = PruningRequest(path, percentile=20, input_percentile=30)
    prune_checkpoint(CTX, pruning)
    return pruning.target_file


@pytest.fixture
def archive(checkpoint, tmp_path):
    export_model(checkpoint, tmp_path / "net.npz")
    return tmp_path / "net.npz"


def test_scipy_computes_the_same_from_the_archive_alone(checkpoint, archive):
    values = X.astype(np.float64)
    with np.load(archive, allow_pickle=False) as arrays:
        if "mean" in arrays:
            values = (values - arrays["mean"]) / arrays["deviation"]
        if "neurons_0" in arrays:
            values = values[:, arrays["neurons_0"]]
        for number in range(3):
            parts = (arrays[f"layer_{number}.{name}"] for name in ("data", "indices", "indptr"))
            weight = scipy.sparse.csr_array(tuple(parts), shape=arrays[f"layer_{number}.shape"])
            sums = values @ weight.T + arrays[f"layer_{number}.bias"]
            values = np.where(sums >= 0, sums, arrays[f"layer_{number}.slope"] * sums)
        assert str(arrays["output"]) == "softmax"
    np.testing.assert_allclose(hpc_sparse.load_model(checkpoint).weighted_sums(X), values, rtol=0, atol=2e-5)


def test_a_network_that_comes_back_predicts_the_same_bits(checkpoint, archive, tmp_path):
    result = import_model(archive, tmp_path / "back.h5")
    before, after = hpc_sparse.load_model(checkpoint), hpc_sparse.load_model(tmp_path / "back.h5")
    np.testing.assert_array_equal(after.weighted_sums(X), before.weighted_sums(X))
    assert after.config == before.config
    assert repr(after) == repr(before)
    assert result["connections"] == before.network.n_connections
    for ids, others in zip(after.network.neuron_ids, before.network.neuron_ids, strict=True):
        np.testing.assert_array_equal(ids, others)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("format_version", np.array(3), NewerFormatError, "format_version = 3: this hpc_sparse reads versions up to 2"),
        ("format_version", np.array("1"), DataError, "format_version = 1: expected a whole number"),
        ("epoch", np.array(-1), DataError, "epoch = -1: expected a whole number >= 0"),
        ("config", np.array([1]), DataError, r"config: int64\[1\]: expected a text"),
        ("config", np.array("[data"), InputError, "not valid TOML"),
        ("layer_1.data", None, DataError, '"layer_1.data" is missing'),
        ("layer_1.bias", np.zeros(5, np.float32), DataError, r"layer_1.bias: float32\[5\]: expected float32\[18\]"),
        ("layer_1.bias", np.zeros(18), DataError, r"layer_1.bias: float64\[18\]: expected float32"),
        ("layer_1.bias", np.full(18, np.nan, np.float32), InputError, "must be finite"),
        ("layer_1.shape", np.array([18, 23]), DataError, "layer_1.shape = 18 x 23: expected n_out x 24 neurons"),
        ("layer_1.indptr", np.zeros(19, np.int32), InputError, "indptr: runs from 0 to 0"),
        ("mean", None, DataError, '"mean" is missing'),
        ("deviation", np.zeros(30, np.float32), DataError, r"deviation\[0\] = 0.0: must be > 0"),
        ("neurons_1", np.arange(24, dtype=np.int32)[::-1], DataError, "neurons_1"),
    ],
)
def test_a_wrong_part_of_an_archive_is_named(write_network, tmp_path, name, value, error, message):
    export_model(write_network(), tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as found:
        arrays = dict(found)
    arrays.pop(name, None)
    if value is not None:
        arrays[name] = value
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(error, match=message):
        import_model(tmp_path / "wrong.npz", tmp_path / "back.h5")
    assert not (tmp_path / "back.h5").exists()


def test_an_index_out_of_range_never_reaches_a_kernel(write_network, tmp_path):
    export_model(write_network(), tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as found:
        arrays = dict(found)
    arrays["layer_0.indices"][3] = 30
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(InputError, match=r"layer_0: indices: 30 in row .*: must be >= 0 and < 30"):
        import_model(tmp_path / "wrong.npz", tmp_path / "back.h5")


def test_nothing_is_overwritten_and_nothing_half_done_is_left(write_network, tmp_path):
    path = write_network()
    (tmp_path / "net.npz").write_text("precious")
    with pytest.raises(OutputError, match=r"net\.npz: exists already"):
        export_model(path, tmp_path / "net.npz")
    with pytest.raises(InputError, match=r"expected the name of an .npz archive"):
        export_model(path, tmp_path / "net.txt")
    with pytest.raises(OutputError, match=r"cannot be written: No such file"):
        export_model(path, tmp_path / "nowhere" / "net.npz")
    with pytest.raises(OutputError, match=r"net\.h5: exists already"):
        import_model(tmp_path / "net.npz", path)
    with pytest.raises(DataError, match=r"cannot be read as an .npz archive"):
        import_model(tmp_path / "net.npz", tmp_path / "new.h5")
    assert (tmp_path / "net.npz").read_text() == "precious"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.h5", "net.npz"]


def test_an_archive_of_ours_takes_no_configuration_and_another_one_needs_it(write_network, tmp_path):
    export_model(write_network(), tmp_path / "net.npz")
    with pytest.raises(InputError, match=r"has a configuration of its own"):
        import_model(tmp_path / "net.npz", tmp_path / "back.h5", tmp_path / "run.toml")
    np.savez(tmp_path / "other.npz", w=np.zeros((3, 30)))
    with pytest.raises(InputError, match="expected --config, as for dense weights"):
        import_model(tmp_path / "other.npz", tmp_path / "back.h5")


def test_dense_weights_take_no_connections_from_a_file(tmp_path):
    np.savez(tmp_path / "other.npz", w=np.zeros((3, 30)))
    text = 'data.path = "d.h5"\ntraining.epochs = 1\nnetwork = { hidden = [3], initial_topology = "file:a.csv" }\n'
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(InputError, match=r"run\.toml: has connections from a\.csv: expected none, as those of .*other"):
        import_model(tmp_path / "other.npz", tmp_path / "back.h5", tmp_path / "run.toml")


def test_without_pytorch_a_module_is_refused_with_what_is_missing(write_network, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "hpc_sparse.interop.torch_module", raising=False)
    with pytest.raises(MachineError, match=r"to_torch: needs PyTorch, .*: pip install torch"):
        to_torch(hpc_sparse.load_model(write_network()))
