"""Checkpoints come back bit for bit, inconsistent ones are refused, and the folder keeps the right ones."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint
from hpc_sparse.storage.checkpoint.folder import (
    checkpoint_epochs,
    checkpoint_path,
    checkpoint_positions,
    newest_checkpoint,
    prune_checkpoints,
)
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA
from hpc_sparse.storage.checkpoint.state import Checkpoint


def assert_equal(found: Checkpoint, expected: Checkpoint) -> None:
    """All fields equal, arrays with type and bits."""
    for field in dataclasses.fields(Checkpoint):
        if field.name == "front_end":
            assert found.front_end.keys() == expected.front_end.keys()
            for name, array in expected.front_end.items():
                assert found.front_end[name].dtype == array.dtype
                np.testing.assert_array_equal(found.front_end[name], array)
        elif field.name == "progress":
            np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))
        elif field.name == "neuron_ids":
            for ids, expected_ids in zip(found.neuron_ids, expected.neuron_ids, strict=True):
                np.testing.assert_array_equal(ids, expected_ids)
        elif field.name != "layers":
            assert getattr(found, field.name) == getattr(expected, field.name)
    for found_layer, layer in zip(found.layers, expected.layers, strict=True):
        assert (found_layer.shape, found_layer.activation) == (layer.shape, layer.activation)
        arrays, expected_arrays = found_layer.arrays(), layer.arrays()
        assert arrays.keys() == expected_arrays.keys()
        for name, expected_array in expected_arrays.items():
            array = arrays[name]
            assert array.dtype == expected_array.dtype
            assert array.tobytes() == expected_array.tobytes()


def with_layer(checkpoint: Checkpoint, number: int, **changes: Any) -> Checkpoint:
    layers = list(checkpoint.layers)
    arrays = {name.rpartition("/")[2]: array for name, array in layers[number].arrays().items()}
    same = {"shape": layers[number].shape, "activation": layers[number].activation, **arrays}
    layers[number] = LayerState.sparse(**(same | changes))
    return dataclasses.replace(checkpoint, layers=tuple(layers))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"history_best": None, "metrics": {}},
        {"front_end": {}},
        {"front_end": {"toy/largest": np.arange(3.0), "other/n": np.array([[4]]), "toy/a": np.zeros(0, np.float32)}},
        {"config_text": "", "epoch": 0, "step": 2**40},
        {"config_text": "# ä\n" * 100_000, "metrics": {"a b/ü": float("inf"), "n": -0.5}},
        {"neuron_ids": (None, np.array([0, 3, 4, 2**31 - 1], np.int32), None)},
        {"neuron_ids": (np.array([0, 1, 2, 3, 6], np.int32), None, None), "front_end": {}},
        {"target_connections": (0, 12)},
        {"step_in_epoch": 345, "progress": np.array([[0.1, 1], [np.inf, 2]]), "progress_names": ("a", "b ü")},
        {"progress": np.zeros((2, 0))},
    ],
)
def test_a_checkpoint_comes_back_bit_for_bit(
    ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any], changes: dict[str, Any]
) -> None:
    checkpoint = dataclasses.replace(golden["checkpoint"](), **changes)
    write_checkpoint(ctx, tmp_path / "c.h5", checkpoint)
    assert_equal(read_checkpoint(ctx, tmp_path / "c.h5"), checkpoint)


def test_a_layer_without_connections_comes_back(ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]) -> None:
    empty = np.zeros(0, np.float32)
    checkpoint = with_layer(
        golden["checkpoint"](),
        0,
        indptr=np.zeros(5, np.int64),
        indices=np.zeros(0, np.int32),
        weight=empty,
        weight_velocity=empty,
    )
    write_checkpoint(ctx, tmp_path / "c.h5", checkpoint)
    assert_equal(read_checkpoint(ctx, tmp_path / "c.h5"), checkpoint)


def test_info_counts_without_reading_weights(tmp_path: Path, ctx: ParallelContext, golden: dict[str, Any]) -> None:
    write_checkpoint(ctx, tmp_path / "c.h5", golden["checkpoint"]())
    info = read_checkpoint_info(tmp_path / "c.h5")
    assert (info.epoch, info.step, info.n_ranks, info.history_best) == (12, 3456, 2, (9, 0.8125))
    assert [(layer.shape, layer.activation, layer.n_connections) for layer in info.layers] == [
        ((4, 5), "all_relu", 6),
        ((3, 4), "softmax", 12),
    ]
    assert (info.n_neurons, info.n_connections, info.n_parameters) == (12, 18, 25)
    assert info.density == 18 / 32
    assert info.metrics == {"test_accuracy": 0.75, "train_loss": 0.5}
    assert "weiß" in info.config_text
    assert (info.n_replicas, info.step_in_epoch, info.reduced_layers, info.target_connections) == (0, 0, (), ())
    assert info.creator.startswith("hpc_sparse ")
    assert info.file_bytes == (tmp_path / "c.h5").stat().st_size


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (0, {"indices": np.array([0, 5, 1, 2, 3, 0], np.int32)}, r"layers/0/connections/input: indices: 5 in row 0"),
        (0, {"indices": np.array([0, 4, 2, 1, 3, 0], np.int32)}, "indices: 1 follows 2 in row 2"),
        (0, {"indptr": np.array([0, 2, 1, 5, 6], np.int64)}, "indptr: falls from 2 to 1 at row 1"),
        (1, {"weight": np.full(12, np.nan, np.float32)}, r"layers/1/parameters/weight\[0\] = nan"),
        (1, {"bias_velocity": np.array([0, 0, np.inf], np.float32)}, r"bias_velocity\[2\] = inf"),
        (1, {"bias": np.zeros(4, np.float32)}, r"layers/1/parameters/bias: is float32\[4\], expected float32\[3\]"),
        (1, {"weight": np.zeros(12)}, r"layers/1/parameters/weight: is float64\[12\], expected float32\[12\]"),
        (1, {"shape": (3, 5)}, "layers/1: n_in = 5: expected 4"),
    ],
)
def test_an_inconsistent_checkpoint_is_refused_with_the_place(
    ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any], number: int, changes: dict[str, Any], message: str
) -> None:
    write_checkpoint(ctx, tmp_path / "wrong.h5", with_layer(golden["checkpoint"](), number, **changes))
    with pytest.raises(FileFormatError, match=message) as caught:
        read_checkpoint(ctx, tmp_path / "wrong.h5")
    assert "wrong.h5" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"target_connections": (5,)},
        {"neuron_ids": (None, None)},
        {"replica": 1},
        {"replica": NO_REPLICA},
    ],
)
def test_a_state_that_does_not_fit_together_is_not_written(
    ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(AssertionError):
        write_checkpoint(ctx, tmp_path / "c.h5", dataclasses.replace(golden["checkpoint"](), **changes))
    assert list(tmp_path.iterdir()) == []


def test_the_newest_is_the_one_of_the_latest_epoch(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "missing") is None
    assert newest_checkpoint(tmp_path) is None
    assert checkpoint_path(tmp_path, 12).name == "checkpoint-000012.h5"
    for epoch in (9, 1_000_000, 12):
        checkpoint_path(tmp_path, epoch).touch()
    (tmp_path / "checkpoint-000099.h5.bak").touch()
    assert newest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 1_000_000)


def test_an_unfinished_epoch_comes_after_its_last_complete_one(tmp_path: Path) -> None:
    assert checkpoint_path(tmp_path, 12, 345).name == "checkpoint-000012+000345.h5"
    assert checkpoint_path(tmp_path, 0, 12345678).name == "checkpoint-000000+12345678.h5"
    in_order = [(0, 5), (11, 0), (12, 0), (12, 345), (12, 1_000_000), (13, 0)]
    for epoch, step in reversed(in_order):
        checkpoint_path(tmp_path, epoch, step).touch()
    assert list(checkpoint_positions(tmp_path)) == in_order
    assert list(checkpoint_epochs(tmp_path)) == [11, 12, 13]
    checkpoint_path(tmp_path, 13).unlink()
    assert newest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 12, 1_000_000)


def test_an_unfinished_epoch_is_kept_only_while_it_is_the_newest(tmp_path: Path) -> None:
    for epoch, step in ((1, 0), (2, 7), (3, 0), (4, 0), (4, 8), (4, 9)):
        checkpoint_path(tmp_path, epoch, step).touch()
    prune_checkpoints(tmp_path, 2, None)
    assert list(checkpoint_positions(tmp_path)) == [(3, 0), (4, 0), (4, 9)]
    checkpoint_path(tmp_path, 5).touch()
    prune_checkpoints(tmp_path, 1, 3)
    assert list(checkpoint_positions(tmp_path)) == [(3, 0), (5, 0)]


@pytest.mark.parametrize(
    ("keep_last", "best", "kept"),
    [(2, None, [4, 5]), (1, 2, [2, 5]), (2, 5, [4, 5]), (0, None, [5]), (9, 1, [1, 2, 3, 4, 5])],
)
def test_pruning_keeps_the_last_and_the_best(tmp_path: Path, keep_last: int, best: int | None, kept: list[int]) -> None:
    for epoch in range(1, 6):
        checkpoint_path(tmp_path, epoch).touch()
    (tmp_path / ".checkpoint-000003.h5.0123abcd.partial").touch()
    (tmp_path / "summary.json").touch()
    removed = prune_checkpoints(tmp_path, keep_last, best)
    assert len(removed) == 5 - len(kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(checkpoint_path(tmp_path, epoch).name for epoch in kept),
        "summary.json",
    ]


def test_ten_million_connections_are_read_and_checked_within_seconds(ctx: ParallelContext, tmp_path: Path) -> None:
    n_neurons, fan_in = 100_000, 100
    indices = np.tile(np.arange(fan_in, dtype=np.int32) * 1000, n_neurons)
    weight = np.ones(indices.size, np.float32)
    bias = np.zeros(n_neurons, np.float32)
    indptr = np.arange(n_neurons + 1, dtype=np.int64) * fan_in
    layer = LayerState.sparse((n_neurons, n_neurons), "relu", indptr, indices, weight, bias, weight, bias)
    write_checkpoint(ctx, tmp_path / "c.h5", Checkpoint("", 1, 1, 1, (layer,), {}, None))
    start = time.process_time()
    read_checkpoint(ctx, tmp_path / "c.h5")
    assert time.process_time() - start < 5
