"""Layers by the names that checkpoints have: nothing is lost on the way, and what is wrong is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hpc_sparse
from hpc_sparse.errors import InputError
from hpc_sparse.interop.exchange import export_model, import_model
from hpc_sparse.interop.layer_archive import layer_arrays

X = np.random.default_rng(4).uniform(0, 10, (50, 30)).astype(np.float32)
INDICES = "connections/input/indices"


@pytest.fixture
def checkpoint(write_network):
    return write_network()


@pytest.fixture
def arrays(checkpoint, tmp_path):
    """An archive whose layer 1 is described as one of another kind would be."""
    export_model(checkpoint, tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as found:
        arrays = {name: values for name, values in found.items() if not name.startswith("layer_1.")}
    layer = hpc_sparse.load_model(checkpoint).network.layers[1]
    described = {f"layer_1.{name}": values for name, values in layer_arrays(layer).items()}
    return arrays | described | {"format_version": np.array(2)}


def about(arrays, **changes):
    """The description of layer 1 with other values."""
    return np.array(json.dumps(json.loads(str(arrays["layer_1.about"])) | changes))


def test_a_layer_by_names_predicts_the_same_bits(checkpoint, arrays, tmp_path):
    np.savez(tmp_path / "named.npz", **arrays)
    import_model(tmp_path / "named.npz", tmp_path / "back.h5")
    before, after = hpc_sparse.load_model(checkpoint), hpc_sparse.load_model(tmp_path / "back.h5")
    np.testing.assert_array_equal(after.weighted_sums(X), before.weighted_sums(X))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "unheard"}, r'layer_1.about: kind = "unheard": expected one of sparse'),
        ({"activation": "unheard"}, "layer_1: .*unheard"),
        ({"kind": 3}, "layer_1.about.*kind.*valid string"),
        ({"more": 3}, "layer_1.about.*more.*not permitted"),
        ({"settings": {"gain": None}}, "layer_1.about.*settings"),
        ({"settings": {"gain": 1.5}}, "layer_1: .*gain"),
        ({"connections": {}}, "layer_1.about: connections .*none.*: expected input"),
        ({"connections": {"input": {"kind": "csr", "shape": [0, 4], "n_units": 3}}}, "layer_1.about.*greater than"),
        (
            {"connections": {"input": {"kind": "new", "shape": [18, 24], "n_units": 3}}},
            'about.input: kind = "new": expected',
        ),
        ({"connections": {"input": {"kind": "csr", "shape": [18, 24], "n_units": 3}}}, r"indices: .*int32\[3\]"),
    ],
)
def test_a_wrong_description_is_named(arrays, tmp_path, changes, message):
    np.savez(tmp_path / "wrong.npz", **(arrays | {"layer_1.about": about(arrays, **changes)}))
    with pytest.raises(InputError, match=message):
        import_model(tmp_path / "wrong.npz", tmp_path / "back.h5")
    assert not (tmp_path / "back.h5").exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("about", np.array("{"), "layer_1.about.*JSON"),
        ("about", np.array(3), r"layer_1.about: int64\[\]: expected a text"),
        ("parameters/weight", None, '"layer_1.parameters/weight" is missing'),
        ("parameters/bias", np.zeros(5, np.float32), r"layer_1.parameters/bias: float32\[5\]: expected float32\[18\]"),
        ("parameters/bias", np.full(18, np.nan, np.float32), "layer_1.parameters/bias.*finite"),
    ],
)
def test_a_wrong_array_is_named(arrays, tmp_path, name, value, message):
    changed = {key: values for key, values in arrays.items() if key != f"layer_1.{name}"}
    changed |= {} if value is None else {f"layer_1.{name}": value}
    np.savez(tmp_path / "wrong.npz", **changed)
    with pytest.raises(InputError, match=message):
        import_model(tmp_path / "wrong.npz", tmp_path / "back.h5")
    assert not (tmp_path / "back.h5").exists()


def test_an_index_out_of_range_never_reaches_a_kernel(arrays, tmp_path):
    arrays[f"layer_1.{INDICES}"][3] = 24
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(InputError, match=r"layer_1\.connections/input: indices: 24 in row .*: must be >= 0 and < 24"):
        import_model(tmp_path / "wrong.npz", tmp_path / "back.h5")


def test_connections_of_another_shape_never_reach_a_kernel(arrays, tmp_path):
    n_units = arrays[f"layer_1.{INDICES}"].size
    described = about(arrays, connections={"input": {"kind": "csr", "shape": [18, 30], "n_units": n_units}})
    np.savez(tmp_path / "wrong.npz", **(arrays | {"layer_1.about": described}))
    with pytest.raises(InputError, match="layer_1: connections input have 18 x 30 neurons: expected 18 x 24"):
        import_model(tmp_path / "wrong.npz", tmp_path / "back.h5")
