"""Checkpoints of format 4 keep within HDF5's headers, hold kinds by name, and go as deep as a network does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.checkpoint.octal import octal_place
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.container.plain_hdf5 import check_plain, objects

MOST = 8


def chain(n_layers: int) -> tuple[LayerState, ...]:
    """Layers of one neuron each."""
    pointers, index, one = np.array([0, 1], np.int64), np.zeros(1, np.int32), np.ones(1, np.float32)
    return tuple(LayerState.sparse((1, 1), "relu", pointers, index, one * number, one) for number in range(n_layers))


def refuse_dense_storage(*arguments: Any) -> None:
    raise AssertionError("links or attributes are not in the header")


@pytest.mark.parametrize("name", ["WHOLE_V4", "REDUCED_V4", "REPLICAS_V4", "DEEP_V4"])
def test_no_group_has_more_members_and_no_object_more_attributes_than_a_header_holds(
    golden: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(objects, "dense_objects", refuse_dense_storage)
    check_plain(golden[name])
    with h5py.File(golden[name], "r") as file:
        found = [file]
        file.visititems(lambda _, item: found.append(item))
        assert max(len(item.attrs) for item in found) <= MOST
        assert max(len(item) for item in found if isinstance(item, h5py.Group)) <= MOST


@pytest.mark.parametrize("n_layers", [1, 8, 9, 65])
def test_any_number_of_layers_comes_back_in_order_from_headers_alone(
    ctx: ParallelContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_layers: int
) -> None:
    monkeypatch.setattr(objects, "dense_objects", refuse_dense_storage)
    ids = tuple(np.array([number], np.int32) if number % 3 == 0 else None for number in range(n_layers + 1))
    targets = tuple(number % 2 for number in range(n_layers))
    metrics = {f"metric {number}": float(number) for number in range(100)}
    made = Checkpoint("", 1, 1, 1, chain(n_layers), metrics, None, neuron_ids=ids, target_connections=targets)
    write_checkpoint(ctx, tmp_path / "deep.h5", made)
    found = read_checkpoint(ctx, tmp_path / "deep.h5")
    assert [layer.parameters["weight"][0] for layer in found.layers] == list(range(n_layers))
    assert [None if each is None else each.tolist() for each in found.neuron_ids] == [
        None if each is None else each.tolist() for each in ids
    ]
    assert (found.target_connections, found.metrics) == (targets, metrics)


def test_the_deep_golden_file_is_read_as_it_was_made(ctx: ParallelContext, golden: dict[str, Any]) -> None:
    found, made = read_checkpoint(ctx, golden["DEEP_V4"]), golden["deep_checkpoint"]()
    for layer, expected in zip(found.layers, made.layers, strict=True):
        for name, array in expected.arrays().items():
            np.testing.assert_array_equal(layer.arrays()[name], array)
    assert read_checkpoint_info(golden["DEEP_V4"]).reduced_layers == (0, 9)
    assert found.neuron_ids[9].tolist() == [1, 2]


def test_places_sort_as_their_numbers() -> None:
    assert [octal_place(number, 3) for number in range(3)] == ["0", "1", "2"]
    assert octal_place(11, 20) == "1/3"
    places = [octal_place(number, 4096) for number in range(4096)]
    assert places == sorted(places)
    assert places[-1] == "7/7/7/7"


def test_more_layers_than_groups_go_deep_are_not_written(ctx: ParallelContext, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="4097 layers: expected at most 4096"):
        write_checkpoint(ctx, tmp_path / "c.h5", Checkpoint("", 1, 1, 1, chain(4097), {}, None))


def test_sums_without_names_are_not_written(ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]) -> None:
    made = dataclasses.replace(golden["reduced_checkpoint"](), progress_names=("a",))
    with pytest.raises(AssertionError, match="'a'"):
        write_checkpoint(ctx, tmp_path / "c.h5", made)


def test_a_state_of_an_optimiser_is_as_long_as_the_parameter_it_is_named_after(
    ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]
) -> None:
    made = golden["checkpoint"]()
    layer = made.layers[0]
    states = {"weight_mean": np.arange(6, dtype=np.float32), "bias_mean_square": np.zeros(4, np.float32)}
    changed = dataclasses.replace(made, layers=(dataclasses.replace(layer, states=states), made.layers[1]))
    write_checkpoint(ctx, tmp_path / "c.h5", changed)
    found = read_checkpoint(ctx, tmp_path / "c.h5").layers[0].states
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in states.items()
    }
    states["weight_square"] = np.zeros(5, np.float32)
    write_checkpoint(ctx, tmp_path / "c.h5", changed)
    with pytest.raises(FileFormatError, match=r"states/weight_square: is float32\[5\], expected float32\[6\]"):
        read_checkpoint(ctx, tmp_path / "c.h5")
